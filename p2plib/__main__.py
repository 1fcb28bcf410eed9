"""`python -m p2plib`: see `p2plib.cli`."""

import sys

from p2plib.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

"""The command line: `python -m p2plib ...`. Commands call the same functions as notebooks."""

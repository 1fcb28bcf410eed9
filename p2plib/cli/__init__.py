"""The command line: `python -m p2plib ...`. Every command calls the function that notebooks call."""

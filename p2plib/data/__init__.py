"""Pairs of images: the named data sets, downloads, files, and the pipeline that feeds training."""

from typing import Literal

Task = Literal["pairs", "colorize", "sketch"]
"""What is learned, and so where pairs come from: see `p2plib.data.photos`."""

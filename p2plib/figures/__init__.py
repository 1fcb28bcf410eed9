"""Arrays in, matplotlib figures out: one function per figure.

The figures are plain `Figure` objects without pyplot: no global state, and no display is needed. Notebooks show them by
themselves; `save` writes them to a file.
"""

from p2plib.figures.common import Figure, save
from p2plib.figures.data import colour_histograms, pair_sheet, palette_bars, steps
from p2plib.figures.networks import receptive_fields, u_net
from p2plib.figures.results import error_map, learning_curves, patch_map, picture_grid, result_grid

__all__ = [
    "Figure",
    "colour_histograms",
    "error_map",
    "learning_curves",
    "pair_sheet",
    "palette_bars",
    "patch_map",
    "picture_grid",
    "receptive_fields",
    "result_grid",
    "save",
    "steps",
    "u_net",
]

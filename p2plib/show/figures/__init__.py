"""Arrays in, matplotlib figures out: one function per figure.

The figures are plain `Figure` objects without pyplot, so there is no global state, and no display is needed. Notebooks
show them automatically; `save` writes them to a file.
"""

from p2plib.show.figures.common import Figure, save
from p2plib.show.figures.data import color_histograms, pair_sheet, palette_bars, steps
from p2plib.show.figures.lessons import answers, as_colors, symptoms
from p2plib.show.figures.networks import receptive_fields, u_net
from p2plib.show.figures.results import error_map, image_grid, learning_curves, patch_map, result_grid
from p2plib.show.figures.values import value_maps

__all__ = [
    "Figure",
    "answers",
    "as_colors",
    "color_histograms",
    "error_map",
    "image_grid",
    "learning_curves",
    "pair_sheet",
    "palette_bars",
    "patch_map",
    "receptive_fields",
    "result_grid",
    "save",
    "steps",
    "symptoms",
    "u_net",
    "value_maps",
]

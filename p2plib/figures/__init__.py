"""Arrays in, matplotlib figures out: one function per figure.

The figures are plain `Figure` objects without pyplot: no global state, and no display is needed. Notebooks show them;
`save` writes them to a file.
"""

from p2plib.figures.common import Figure, save
from p2plib.figures.results import learning_curves, picture_grid, result_grid

__all__ = ["Figure", "learning_curves", "picture_grid", "result_grid", "save"]

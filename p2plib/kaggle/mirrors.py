"""Public Kaggle data sets that mirror those of the catalog, in a layout that `p2plib.data.pairs` can read."""

from __future__ import annotations

from typing import NamedTuple


class Mirror(NamedTuple):
    """A Kaggle data set with a copy of one from the catalog."""

    slug: str
    """owner/slug, as in `dataset_sources`."""
    folder: str
    """The folder with `train/` and the other splits."""


_PIX2PIX = "vikramtiwari/pix2pix-dataset"

MIRRORS: dict[str, tuple[Mirror, ...]] = {
    "maps": (Mirror(_PIX2PIX, "maps/maps"), Mirror("alincijov/pix2pix-maps", ".")),
    "facades": (Mirror(_PIX2PIX, "facades/facades"), Mirror("sabahesaraki/pix2pix-facades-dataset", "facades")),
    "cityscapes": (Mirror(_PIX2PIX, "cityscapes/cityscapes"),),
    "edges2shoes": (Mirror(_PIX2PIX, "edges2shoes/edges2shoes"),),
}
"""Mirrors by catalog name, in order of preference. Public notebooks use them; p2plib's authors did not make them."""

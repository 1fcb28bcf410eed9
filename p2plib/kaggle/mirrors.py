"""Where public Kaggle data sets mirror those of the catalog, in a layout that `p2plib.data.pairs` reads."""

from __future__ import annotations

from typing import NamedTuple


class Mirror(NamedTuple):
    """A Kaggle data set that holds one of the catalog's."""

    slug: str
    """owner/slug, as in `dataset_sources`."""
    folder: str
    """The folder in it that holds `train/` and the other splits."""


_PIX2PIX = "vikramtiwari/pix2pix-dataset"

MIRRORS: dict[str, tuple[Mirror, ...]] = {
    "maps": (Mirror(_PIX2PIX, "maps/maps"), Mirror("alincijov/pix2pix-maps", ".")),
    "facades": (Mirror(_PIX2PIX, "facades/facades"), Mirror("sabahesaraki/pix2pix-facades-dataset", "facades")),
    "cityscapes": (Mirror(_PIX2PIX, "cityscapes/cityscapes"),),
    "edges2shoes": (Mirror(_PIX2PIX, "edges2shoes/edges2shoes"),),
}
"""By catalog name, the first choice first. Public notebooks use these; p2plib's authors did not make them."""

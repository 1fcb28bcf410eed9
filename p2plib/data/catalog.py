"""The named data sets: their source, content and terms of use. Each is one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np

from p2plib.data import scan, terrain, toy
from p2plib.data.kind import ImageKind, Kinds
from p2plib.errors import DataError

Direction = Literal["AtoB", "BtoA"]
"""Which side of a pair is the source and which the target."""


class Addresses(TypedDict):
    """The fields of `Entry` that say where an archive is."""

    url: str
    mirrors: tuple[str, ...]


@dataclass(frozen=True)
class Entry:
    """One data set of image pairs, or of photos that pairs are made of.

    Attributes:
        name: what people type and, for pairs, the archive's top folder.
        title: one line for a list.
        url: the .tar.gz archive; None if there is nothing to download.
        splits: pairs in each split, which are counted after unpacking. Of photos: how many are chosen for the split.
        size: (height, width) in pixels of one side of a pair, or of the usual photo.
        names: the content of side A (left) and side B (right). Photos have no sides; the task names them.
        direction: the usual one.
        terms: license or terms of use, one sentence.
        citation: whom to cite.
        classes: if side B is labels, the color of each class (RGB, 0 to 255); the first one is the usual background.
        photos: the data set holds photos, at any depth, for the tasks that make pairs of photos.
        make: `make(index, size)` returns pair number `index`: A and B, (size, size, C) each. For data sets without a
            download.
        kinds: what A and B are, where `make` makes other images than 8-bit RGB.
        mirrors: further addresses of the same archive, which are tried in turn when `url` fails.
        sha256: the archive's SHA-256 in hexadecimal digits; another archive is refused. None accepts any.
    """

    name: str
    title: str
    url: str | None
    splits: Mapping[str, int]
    size: tuple[int, int]
    names: tuple[str, str]
    direction: Direction
    terms: str
    citation: str
    classes: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    photos: bool = False
    make: Callable[[int, int], tuple[np.ndarray, np.ndarray]] | None = None
    kinds: Kinds | None = None
    mirrors: tuple[str, ...] = ()
    sha256: str | None = None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where the archive may be had, in the order to try."""
        return (self.url, *self.mirrors) if self.url else ()


_ARCHIVES = "efrosgans.eecs.berkeley.edu/pix2pix/datasets"
_OLDER = "https://people.eecs.berkeley.edu/~tinghuiz/projects/pix2pix/datasets"  # not tried from here


def _addresses(name: str) -> Addresses:
    """Where the authors have put an archive: encrypted, plain, and the older place. Not all may answer any more."""
    return {
        "url": f"https://{_ARCHIVES}/{name}.tar.gz",
        "mirrors": (f"http://{_ARCHIVES}/{name}.tar.gz", f"{_OLDER}/{name}.tar.gz"),
    }


_PIX2PIX = (
    "Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, CVPR 2017 (arXiv 1611.07004)"
)

_FACADES = {  # names as in the CMP Facade Database, colors as in the archive's files
    "facade": (0, 48, 255),
    "background": (0, 0, 222),
    "window": (0, 128, 255),
    "door": (0, 207, 255),
    "cornice": (32, 255, 224),
    "sill": (112, 255, 143),
    "balcony": (192, 255, 64),
    "blind": (255, 240, 0),
    "deco": (255, 159, 0),
    "molding": (255, 80, 0),
    "pillar": (255, 0, 0),
    "shop": (174, 0, 0),
}
_CITYSCAPES = {  # the data set's own colors of the 19 classes that are scored, and the rest
    "road": (128, 64, 128),
    "sidewalk": (244, 35, 232),
    "building": (70, 70, 70),
    "wall": (102, 102, 156),
    "fence": (190, 153, 153),
    "pole": (153, 153, 153),
    "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0),
    "vegetation": (107, 142, 35),
    "terrain": (152, 251, 152),
    "sky": (70, 130, 180),
    "person": (220, 20, 60),
    "rider": (255, 0, 0),
    "car": (0, 0, 142),
    "truck": (0, 0, 70),
    "bus": (0, 60, 100),
    "train": (0, 80, 100),
    "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32),
    "unlabeled": (0, 0, 0),
}

_DATASETS = (
    Entry(
        name="toy",
        title="A procedural city, aerial view and map, made on the spot",
        url=None,
        splits={"train": 400, "val": 50, "test": 50},
        size=(256, 256),
        names=("satellite", "map"),
        direction="AtoB",
        terms="Made by p2plib, MIT license.",
        citation="p2plib",
        classes=toy.PALETTE,
        make=toy.city,
    ),
    Entry(
        name="maps",
        title="Aerial photos of New York and their Google maps",
        **_addresses("maps"),
        splits={"train": 1096, "val": 1098},
        size=(600, 600),
        names=("satellite", "map"),
        direction="AtoB",
        terms="Images from Google Maps, under Google's terms; for research.",
        citation=_PIX2PIX,
    ),
    Entry(
        name="terrain",
        title="Procedural landscapes: images of four bands, and the height of the land",
        url=None,
        splits={"train": 400, "val": 50, "test": 50},
        size=(256, 256),
        names=("image", "height"),
        direction="AtoB",
        terms="Made by p2plib, MIT license.",
        citation="p2plib",
        make=terrain.terrain,
        kinds=(
            ImageKind("image", channels=4, dtype="uint16", high=terrain.BRIGHTEST, shown=(0, 2600)),
            ImageKind("height", channels=1, dtype="float32", high=4800, unit="m", shown=(0, 2600)),
        ),
    ),
    Entry(
        name="scan",
        title="Procedural CT-like slices, without and with contrast agent",
        url=None,
        splits={"train": 400, "val": 50, "test": 50},
        size=(256, 256),
        names=("plain", "contrast"),
        direction="AtoB",
        terms="Made by p2plib, MIT license.",
        citation="p2plib",
        make=scan.scan,
        kinds=(
            ImageKind("plain", channels=1, dtype="int16", low=-1024, high=1023, unit="HU", shown=(-160, 240)),
            ImageKind("contrast", channels=1, dtype="int16", low=-1024, high=1023, unit="HU", shown=(-160, 240)),
        ),
    ),
    Entry(
        name="facades",
        title="Photos of house fronts and their labeled parts",
        **_addresses("facades"),
        splits={"train": 400, "val": 100, "test": 106},
        size=(256, 256),
        names=("photo", "labels"),
        direction="BtoA",
        terms="CMP Facade Database, for research, with citation.",
        citation="Tylecek and Sara, Spatial Pattern Templates for Recognition of Objects with Regular Structure, "
        "GCPR 2013",
        classes=_FACADES,
    ),
    Entry(
        name="cityscapes",
        title="Street scenes of German cities and their labels",
        **_addresses("cityscapes"),
        splits={"train": 2975, "val": 500},
        size=(256, 256),
        names=("photo", "labels"),
        direction="BtoA",
        terms="Cityscapes terms: non-commercial use, after registration at cityscapes-dataset.com.",
        citation="Cordts et al., The Cityscapes Dataset for Semantic Urban Scene Understanding, CVPR 2016",
        classes=_CITYSCAPES,
    ),
    Entry(
        name="edges2shoes",
        title="Edges of shoes and their product photos",
        **_addresses("edges2shoes"),
        splits={"train": 49825, "val": 200},
        size=(256, 256),
        names=("edges", "photo"),
        direction="AtoB",
        terms="UT Zappos50K, for academic, non-commercial use.",
        citation="Yu and Grauman, Fine-Grained Visual Comparisons with Local Learning, CVPR 2014",
    ),
    Entry(
        name="edges2handbags",
        title="Edges of handbags and their product photos",
        **_addresses("edges2handbags"),
        splits={"train": 138567, "val": 200},
        size=(256, 256),
        names=("edges", "photo"),
        direction="AtoB",
        terms="Product photos from Amazon, gathered for the iGAN project; for research.",
        citation="Zhu et al., Generative Visual Manipulation on the Natural Image Manifold, ECCV 2016",
    ),
    # Sides: the authors write that day to night needs BtoA, so A is night and B is day; their task is day to night.
    # 10 and 2287: a listing of the unpacked archive, which agrees with a public copy of 20,120 pairs in all.
    Entry(
        name="night2day",
        title="Landscapes from webcams by night and by day",
        **_addresses("night2day"),
        splits={"train": 17823, "val": 10, "test": 2287},
        size=(256, 256),
        names=("night", "day"),
        direction="BtoA",
        terms="Transient Attributes data set, for research, with citation.",
        citation="Laffont et al., Transient Attributes for High-Level Understanding and Editing of Outdoor Scenes, "
        "SIGGRAPH 2014",
    ),
    # Unverified: about 21,800 photos in coco_sample/train_sample/, with annotations next to them. The exact number does
    # not matter, as long as there are enough photos.
    Entry(
        name="coco-sample",
        title="A sample of COCO: photos of everyday scenes, to color or to sketch",
        url="https://s3.amazonaws.com/fast-ai-coco/coco_sample.tgz",
        splits={"train": 8000, "val": 200, "test": 2000},
        size=(480, 640),
        names=("photo", "photo"),
        direction="AtoB",
        terms="Photos from Flickr under their owners' licenses; annotations by the COCO Consortium, CC BY 4.0.",
        citation="Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014",
        photos=True,
    ),
)

CATALOG: dict[str, Entry] = {dataset.name: dataset for dataset in _DATASETS}


def register(entry: Entry) -> Entry:
    """Add a data set to the catalog, or replace one, until the process ends. `TrainConfig(data=NAME)` then finds it."""
    CATALOG[entry.name] = entry
    return entry


def entry_of(data: str | Path) -> Entry | None:
    """The catalog's entry for a data set; None if it is a folder, as a `Path` always is."""
    return CATALOG.get(data) if isinstance(data, str) else None


def find(name: str) -> Entry:
    """The data set called `name`.

    Raises:
        DataError: there is none; the message names the closest one and all there are.
    """
    if name in CATALOG:
        return CATALOG[name]
    close = get_close_matches(name.lower(), CATALOG, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise DataError(f"No data set is called {name!r}.{hint} The catalog has {', '.join(CATALOG)}.")

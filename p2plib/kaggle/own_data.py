"""From a folder on this computer to a data set that a kernel trains on: what `kaggle push --data FOLDER` does."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from p2plib.data.catalog import entry_of
from p2plib.data.shards import is_pack
from p2plib.errors import DataError
from p2plib.files import user_path
from p2plib.kaggle import dataset, pack, preflight
from p2plib.kaggle.dataset import Place
from p2plib.kaggle.pack import RECORD as RECORD

if TYPE_CHECKING:
    from p2plib.config import TrainConfig
    from p2plib.kaggle.metadata import Kernel


@dataclass(frozen=True)
class OwnData:
    """A folder of the user's, and where its images go."""

    folder: Path
    """Where they are packed."""
    place: Place
    """Where they go."""

    def attached(self, config: TrainConfig, kernel: Kernel) -> tuple[TrainConfig, Kernel]:
        """Settings and kernel that train on the data set."""
        sources = dict.fromkeys((*kernel.dataset_sources, self.place.id))
        kernel = dataclasses.replace(kernel, dataset_sources=tuple(sources))
        return dataclasses.replace(config, data=self.place.id), kernel

    def pack(self, config: TrainConfig, original: bool = False) -> str:
        """Pack the images, and say what will leave this computer, in one line. Raises as `pack.pack`."""
        packed = pack.pack(config, self.folder, original, progress=sys.stderr.isatty())
        return f"to {self.place.id}, private: {packed}"

    def send(self, license: str, out: Path) -> None:
        """Send what is packed, and note it in `out`, where the kernel is built. Raises as `dataset.send`."""
        dataset.send(self.folder, self.place, license)
        shutil.copyfile(self.folder / RECORD, out / RECORD)


def plan(config: TrainConfig, kernel: Kernel, out: Path, name: str | None = None) -> OwnData | None:
    """Where the images of `config.data` would go; None if they are not a folder here, or of an attached data set.

    Args:
        config: names the data.
        kernel: its owner is that of the data set.
        out: where the kernel is built; the images are packed beside it.
        name: the name of the data set, instead of the usual one.

    Raises:
        KaggleError: the name cannot be one.
        DataError: it is a pack.
    """
    folder = user_path(config.data)
    attached = any(preflight.lies_in(config.data, source) for source in kernel.dataset_sources)
    if entry_of(config.data) or attached or not folder.is_dir():
        return None
    if is_pack(folder):
        raise DataError(f"{config.data}: is a pack; push the folder that it was made of.")
    place = dataset.place(kernel.id.partition("/")[0], name or dataset.usual_name(folder))
    here = out.resolve()
    return OwnData(here.with_name(f"{here.name}-data") / place.id.partition("/")[2], place)


def check_same(config: TrainConfig, out: Path) -> None:
    """See that the images that the kernel in `out` began with are still those on Kaggle, if they were sent from here.

    Raises:
        KaggleError: they are not.
    """
    if record := pack.read(out / RECORD):
        dataset.check_same(config.data, record)

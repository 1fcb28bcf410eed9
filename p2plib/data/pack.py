"""Writes packs: the pairs of a data set in a few large files. What these are like says `shards`."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from p2plib.config import TrainConfig
from p2plib.data.ahead import ahead
from p2plib.data.dataset import Dataset, open_dataset
from p2plib.data.formats import VALUES_ONLY
from p2plib.data.kind import PLAIN, ImageKind
from p2plib.data.pairs import Pair
from p2plib.data.problems import PairError, Problem, refuse_broken
from p2plib.data.reading import read_as
from p2plib.data.shards import DESCRIPTION, FORMAT, SUFFIXES, Pack, Place, Shard, is_address, is_pack, open_pack, rows
from p2plib.errors import DataError
from p2plib.files import check_writable, replacing, shell, user_path, write_text

SHARD = 256
"""Megabytes of images in a shard."""
AHEAD = 16
"""Pairs that threads read ahead of the one that is written."""


@dataclass(frozen=True)
class Written:
    """What was packed.

    Attributes:
        out: where.
        pack: what is there now.
        kept: how many of its shards were there from an earlier call.
        unpaired: the problems of files that form no pair.
        task: what it is for.
    """

    out: Path
    pack: Pack
    kept: int
    unpaired: tuple[str, ...]
    task: str

    @property
    def left_out(self) -> list[str]:
        """Why pairs and files are not packed."""
        return [*self.unpaired, *(line for shard in self._shards for line in shard.left_out)]

    @property
    def _shards(self) -> list[Shard]:
        return [shard for found in self.pack.shards.values() for shard in found]

    def __str__(self) -> str:
        splits = ", ".join(f"{sum(one.pairs for one in found):,} {split}" for split, found in self.pack.shards.items())
        size = sum((self.out / f"{shard.name}.tar").stat().st_size for shard in self._shards) / 1e6
        before = f", {self.kept} of them from before" * bool(self.kept)
        shards = f"{len(self._shards)} shard{'s' * (len(self._shards) > 1)}{before}"
        lines = [f"packed {splits} {self.pack.noun} into {shards}, {size:,.1f} MB: {self.out}"]
        lines += [f"left out: {problem}" for problem in self.left_out]
        options = f" --task {self.task}" * (self.task != "pairs")
        options += " --direction BtoA" * (self.task == "pairs" and self.pack.direction == "BtoA")
        return "\n".join([*lines, f"next: python -m p2plib train --data {shell(self.out)}{options}"])


def pack(
    data: str | Path,
    out: Path,
    task: str = "pairs",
    sources: Sequence[str] = (),
    shard_size: float = SHARD,
    skip_broken: bool = False,
    *,
    progress: bool = False,
) -> Written:
    """Pack a data set into a few large files, the shards, for many pairs or for an object store.

    Every pair is read once, as training reads it, and refused by name if it is broken. The images then travel as they
    are, byte for byte, but for those that hold other values than 8-bit colors, which become NPZ files. A call that was
    interrupted goes on where it was; shards whose images did not change since are kept.

    Args:
        data: a name from the catalog, or a folder; see `tasks.base.Task.list`.
        out: the folder to write: a new one, an empty one, or one that holds an earlier pack of these data.
        task: what the data set is for.
        sources: the names of folders that are stacked as the source.
        shard_size: megabytes of images in a shard.
        skip_broken: leave broken pairs out, and name them at the end.
        progress: show a progress bar on stderr.

    Raises:
        DataError: the data set cannot be used, is one that a function makes, or is a pack itself; pairs are broken;
            or `out` holds something else.
        WriteError: the system does not let it be written.
    """
    dataset, out = _open(data, out, task, sources, skip_broken), user_path(out)
    unpaired = [one for problems in dataset.listing.unpaired.values() for one in problems]
    refuse_broken(unpaired, skip_broken)
    described = _describe(dataset, out)
    before = _before(described, out)
    jobs = [job for split in described.shards for job in _jobs(split, dataset.listing.splits[split], shard_size)]
    packed = _fill(described, jobs, before, out, skip_broken, progress)
    kept = sum(before.get(shard.name) is shard for shards in packed.shards.values() for shard in shards)
    return Written(out, packed, kept, tuple(map(str, unpaired)), task)


def _open(data: str | Path, out: Path, task: str, sources: Sequence[str], skip_broken: bool) -> Dataset:
    """The data set, if it can be packed."""
    if is_address(out):
        raise DataError(f"{out}: packs are written into a folder; copy it to the store with its own tool.")
    if is_pack(data):
        raise DataError(f"{data}: is a pack already.")
    # With `load` crop, photos are taken at their own size.
    config = TrainConfig(data=str(data), task=task, sources=tuple(sources), skip_broken=skip_broken, load="crop")
    dataset = open_dataset(config)
    if dataset.entry and dataset.entry.make:
        raise DataError(f"{data}: a function makes these pairs as they are needed, so there is nothing to pack.")
    return dataset


class _Job(NamedTuple):
    """A shard to write."""

    name: str
    split: str
    pairs: Sequence[Pair]


def _describe(dataset: Dataset, out: Path) -> Pack:
    """What the pack will be, without shards."""
    listing, (source, target) = dataset.listing, dataset.kinds
    content = {split: list(pairs[0].files) for split, pairs in listing.splits.items() if pairs}
    kinds = (source, target) if dataset.direction == "AtoB" else (target, source)
    return Pack(
        place=Place(out),
        data=dataset.entry.name if dataset.entry else user_path(dataset.data).resolve().name,
        noun=dataset.task.noun,
        content=content,
        shards={split: [] for split in content},
        kinds=None if dataset.task.from_photos else kinds,
        sources=listing.sources,
        target=listing.target,
        direction=dataset.direction,
        complete=False,
    )


def _before(described: Pack, out: Path) -> dict[str, Shard]:
    """The shards of an earlier call, by name. Raises DataError if something else is in the folder."""
    if is_pack(out):
        found = open_pack(out)
        if (found.data, found.noun) != (described.data, described.noun):
            raise DataError(f"{out}: holds the pack of other images ({found.data}); choose another folder.")
        return {shard.name: shard for some in found.shards.values() for shard in some if _is_there(shard, out)}
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out}: is not empty; choose a new folder.")
    check_writable(out, folder=True)
    return {}


def _is_there(shard: Shard, out: Path) -> bool:
    return all((out / f"{shard.name}{suffix}").is_file() for suffix in SUFFIXES)


def _jobs(split: str, pairs: Sequence[Pair], shard_size: float) -> Iterator[_Job]:
    """Divide the pairs of a split into shards of so many megabytes, in their order."""
    if not shard_size > 0:
        raise DataError(f"shard_size is {shard_size:g}; it must be a positive number of megabytes.")
    begin = total = number = 0
    for i, pair in enumerate(pairs, 1):
        total += sum(path.stat().st_size for path in pair.files.values() if path.exists())
        if total >= shard_size * 1e6 or i == len(pairs):
            yield _Job(f"{split}-{number:05}", split, pairs[begin:i])
            begin, total, number = i, 0, number + 1


def _fill(
    described: Pack, jobs: Sequence[_Job], before: Mapping[str, Shard], out: Path, skip_broken: bool, progress: bool
) -> Pack:
    """Write all shards that are not there yet, and remove those of earlier calls that are not needed any more."""
    known = dict(before)
    with tqdm(total=sum(len(job.pairs) for job in jobs), desc="packing", disable=not progress) as bar:
        for job in jobs:
            plan = _plan(job.pairs, described)
            if job.name in before and before[job.name].plan == plan:
                bar.update(len(job.pairs))
                continue
            known[job.name] = _write(job, plan, described, out, skip_broken, bar)
            _save(described, known, out)  # from here on, this shard is kept
    packed = _save(replace(described, complete=True), {job.name: known[job.name] for job in jobs}, out)
    for name in before.keys() - {job.name for job in jobs}:
        for suffix in SUFFIXES:
            (out / f"{name}{suffix}").unlink(missing_ok=True)
    return packed


def _plan(pairs: Sequence[Pair], described: Pack) -> str:
    """A hash of what a shard is made of: the names, sizes and times of files, and what the images are."""
    found = hashlib.sha256(json.dumps([FORMAT, described.to_json()["kinds"]]).encode())
    for pair in pairs:
        stats = [path.stat() for path in pair.files.values() if path.exists()]
        found.update(repr((pair.name, [(stat.st_size, stat.st_mtime_ns) for stat in stats])).encode())
    return found.hexdigest()


def _write(job: _Job, plan: str, described: Pack, out: Path, skip_broken: bool, bar: tqdm[Any]) -> Shard:
    """Write a shard and its index. Raises DataError if pairs are broken and not to be skipped."""
    problems: list[Problem] = []
    index = np.zeros(len(job.pairs), rows(len(described.content[job.split])))
    count = 0
    with replacing(out / f"{job.name}.tar") as temporary:
        with tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar:
            for _, files in ahead(lambda pair: _files(pair, described), job.pairs, AHEAD, os.cpu_count()):
                bar.update()
                if isinstance(files, Problem):
                    problems.append(files)
                    continue
                index[count]["start"] = tar.offset
                for suffix, content in files.items():
                    info = tarfile.TarInfo(f"{count:08}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
                index[count]["sizes"] = [len(content) for content in files.values()]
                index[count]["crc"] = [zlib.crc32(content) for content in list(files.values())[1:]]
                count += 1
        refuse_broken(problems, skip_broken)
    content = index[:count].tobytes()
    with replacing(out / f"{job.name}.index") as temporary:
        temporary.write_bytes(content)
    return Shard(job.name, count, hashlib.sha256(content).hexdigest(), plan, tuple(map(str, problems)))


def _files(pair: Pair, described: Pack) -> dict[str, bytes] | Problem:
    """The content of a pair's files by what they are called in a shard, the name first; or why it is broken."""
    try:
        pair.read(described.kinds)
    except PairError as error:
        if error.problem.broken:
            return error.problem
    kinds = [part for kind in described.kinds or PLAIN for part in kind.parts or (kind,)]
    files = {"name.txt": pair.name.encode()}
    for (what, path), kind in zip(pair.files.items(), kinds, strict=False):
        suffix, content = _content(path, kind)
        if len(content) >= 1 << 32:
            return Problem(pair.name, "too large", f"{path.name} has 4 GB or more; cut it into smaller images")
        files[f"{what.replace('|', '')}{suffix}"] = content
    return files


def _content(path: Path, kind: ImageKind) -> tuple[str, bytes]:
    """A file as it travels, and the suffix that it has then."""
    if (kind.plain or kind.are_classes) and path.suffix.lower() not in VALUES_ONLY:
        return path.suffix, path.read_bytes()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, values=read_as(path, kind))
    return ".npz", buffer.getvalue()


def _save(described: Pack, known: Mapping[str, Shard], out: Path) -> Pack:
    """Write `pack.json` with these shards."""
    names = sorted(known)
    shards = {split: [known[name] for name in names if name.startswith(f"{split}-")] for split in described.shards}
    pack = replace(described, shards=shards)
    write_text(out / DESCRIPTION, json.dumps(pack.to_json(), indent=1) + "\n")
    return pack

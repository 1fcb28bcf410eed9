"""Download data sets: fetch the archive, unpack it and verify the content. A data set is complete or not there at all.

While NAME is downloaded, these files are next to its final folder NAME:

    NAME.tar.gz.part        the archive so far; kept when the transfer fails, so that the next call resumes it
    NAME.tar.gz.part.json   the archive's address, size and validator, which show whether it can be resumed
    .NAME.unpack/           the folder where it is unpacked
    .NAME.lock              a lock between processes

and this one stays:

    NAME.json               the address and the SHA-256 of the archive that the data set came in
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from p2plib.data.catalog import Entry, find
from p2plib.data.formats import IMAGE_SUFFIXES, image_files
from p2plib.data.transfer import CHUNK, AddressError, check_answer, discard, does_not_fit, kept, moved, receive
from p2plib.errors import DataError
from p2plib.files import locked, user_path, write_text

TIMEOUT = 30.0
"""Seconds without data after which a connection counts as broken."""
RETRIES = 3
"""How often in a row a broken transfer is retried without progress."""
BACKOFF = 1.0
"""Seconds before the first retry; doubled for each further one."""

# Images are compressed already, so an archive of them unpacks to about its own size. Far more than that is a bomb.
_MAX_GROWTH = 10
_MAX_GROWTH_FREE = 100 << 20
_DISK_BLOCK = 4096


def cache_dir() -> Path:
    """Where downloads are stored: `$P2PLIB_CACHE`, or the user's cache folder by default."""
    from platformdirs import user_cache_dir

    try:
        return user_path(os.environ.get("P2PLIB_CACHE") or user_cache_dir("p2plib", appauthor=False))
    except RuntimeError:  # a user without a home
        return Path(tempfile.gettempdir(), f"p2plib-{getattr(os, 'getuid', int)()}")


def dataset_dir(name: str) -> Path:
    """The folder of data set `name`, downloaded or not; it holds `train/` and the other splits."""
    return cache_dir() / "datasets" / find(name).name


def get(name: str, *, force: bool = False, progress: bool = True) -> Path:
    """Download, unpack and verify a data set of the catalog, unless that has been done.

    A broken transfer is retried, and the next call resumes it. Calls from several processes wait for each other.

    Args:
        name: a name in the catalog.
        force: download it again. The old folder stays until the new one is complete.
        progress: show progress bars on stderr.

    Returns:
        The folder that holds `train/` and the other splits.

    Raises:
        DataError: the name is unknown, there is nothing to download, the server does not send the archive, the archive
            is damaged, hostile or not what the catalog describes or pins, or the disk is full or not writable.
    """
    dataset, target = find(name), dataset_dir(name)
    if dataset.url is None:
        raise DataError(f"{name}: needs no download, p2plib makes it; use it by its name.")
    if target.is_dir() and not force:
        return target
    part = target.with_name(f"{name}.tar.gz.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = target.with_name(f".{name}.lock")
        with locked(lock, _wait(lock, progress)):
            if force or not target.is_dir():  # another process may have brought it meanwhile
                dataset, digest = _fetch_any(dataset, part, progress)
                _install(dataset, part, target, progress)
                _record(dataset, target, digest)
    except OSError as error:
        raise DataError(
            f"{name}: cannot write to {target.parent} ({error.strerror or error}); make room there, or set "
            "P2PLIB_CACHE to a folder with room, and run the same again."
        ) from error
    return target


def _wait(path: Path, progress: bool) -> Callable[[], None]:
    """The function to call while another process downloads: it says so once, then waits."""
    said = not progress

    def wait() -> None:
        nonlocal said
        if not said:
            sys.stderr.write(f"Waiting for another process that is downloading here ({path}).\n")
        said = True
        time.sleep(0.2)

    return wait


# Fetching.


def _fetch_any(dataset: Entry, part: Path, progress: bool) -> tuple[Entry, str]:
    """Download the archive from the first address that gives it; return the entry with this one, and the SHA-256."""
    addresses = list(dataset.addresses)
    while True:
        url = addresses.pop(0)
        entry = replace(dataset, url=url)
        try:
            _fetch(entry, url, part, progress, hurry=bool(addresses))
            return entry, _digest(entry, part)
        except AddressError as error:
            if not addresses:
                raise
            sys.stderr.write(f"{str(error).partition(';')[0]}; trying {addresses[0]} now.\n")


def _digest(dataset: Entry, part: Path) -> str:
    """The archive's SHA-256, which must be the one that the catalog pins, if any."""
    with open(part, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if dataset.sha256 and digest != dataset.sha256.lower():
        discard(part)
        raise AddressError(
            f"{dataset.name}: the archive from {dataset.url} has the SHA-256 {digest}, and the catalog pins "
            f"{dataset.sha256}; nothing was unpacked."
        )
    return digest


def _record(dataset: Entry, target: Path, digest: str) -> None:
    """Write down which archive the data set came in, and say if it is not the one of the last download."""
    path = target.with_name(f"{dataset.name}.json")
    try:
        last = json.loads(path.read_text(encoding="utf-8"))["sha256"]
    except (OSError, ValueError, TypeError, KeyError):
        last = digest  # the first time, or not to be trusted
    if last != digest:
        sys.stderr.write(
            f"{dataset.name}: the archive is another one than last time; its SHA-256 is {digest}, and was {last}.\n"
        )
    write_text(path, json.dumps({"url": dataset.url, "sha256": digest}, indent=1) + "\n")


def _fetch(dataset: Entry, url: str, part: Path, progress: bool, hurry: bool = False) -> None:
    """Download the archive at `url` to `part`, and retry as long as each attempt gets further than the last.

    In a hurry, since there is another address, one that sends nothing is not retried.
    """
    import requests
    import urllib3

    furthest = failures = 0
    while True:
        try:
            return _transfer(dataset, url, part, progress)
        except requests.TooManyRedirects as error:
            raise moved(dataset, url, part, "redirects in a circle") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            size = part.stat().st_size if part.exists() else 0
            failures = 1 if size > furthest else failures + 1
            furthest = max(furthest, size)
            if failures > (0 if hurry and not size else RETRIES):
                why = error if isinstance(error, requests.HTTPError) else type(error).__name__
                raise AddressError(
                    f"{dataset.name}: the transfer from {url} broke {failures} times in a row ({why}); check the "
                    f"connection and run the same again, which goes on from the {size / 1e6:.1f} MB that are here."
                ) from error
            time.sleep(BACKOFF * 2 ** (failures - 1))


def _transfer(dataset: Entry, url: str, part: Path, progress: bool) -> None:
    """Send one request, which starts or resumes the download; none if `part` is complete."""
    import requests

    have, known = kept(part, url)
    if have and have == known["size"]:
        return
    have = have if known["validator"] else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "p2plib"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": known["validator"]}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if not (have and does_not_fit(response, have, known)):
            check_answer(dataset, url, response, part, resumed=have > 0)
            return receive(dataset, url, response, part, progress)
    discard(part)
    _transfer(dataset, url, part, progress)


# Unpacking.


def _install(dataset: Entry, part: Path, target: Path, progress: bool) -> None:
    """Unpack and verify the archive next to `target`, then rename the result in one step.

    Pairs have their splits in the archive's top folder. Photos can be anywhere, so the whole archive is kept.
    """
    place = target.with_name(f".{dataset.name}.unpack")
    shutil.rmtree(place, ignore_errors=True)  # a killed process may have left one
    new, old = place / "new", place / "old"
    made = new if dataset.photos else new / dataset.name
    try:
        _unpack(dataset, part, new, progress)
        _verify(dataset, made)
        if target.exists():
            os.replace(target, old)
        os.replace(made, target)
        discard(part)
    except DataError:
        discard(part)  # resuming could not repair it
        raise
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _unpack(dataset: Entry, archive: Path, folder: Path, progress: bool) -> None:
    """Unpack the images of a .tar.gz into `folder`: only regular files and folders, up to a limit of their size."""
    from tqdm import tqdm

    budget = _MAX_GROWTH * archive.stat().st_size + _MAX_GROWTH_FREE
    folder.mkdir(parents=True)
    try:
        with gzip.open(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            # Python 3.11.0 to 3.11.3 know no filters; what they would refuse, _check_member refuses.
            tar.extraction_filter = getattr(tarfile, "data_filter", lambda member, path: member)
            for member in tqdm(tar, f"unpacking {dataset.name}", unit=" files", disable=not progress, leave=False):
                budget -= max(member.size, _DISK_BLOCK)
                _check_member(dataset, member, budget)
                if not any(part.startswith(".") for part in PurePosixPath(member.name).parts):  # macOS adds these
                    tar.extract(member, folder)
            while stream.read(CHUNK):  # the checksum is at the end
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError, ValueError) as error:
        raise DataError(
            f"{dataset.name}: the archive from {dataset.url} is damaged ({error}); run this again to fetch it again."
        ) from error


def _check_member(dataset: Entry, member: tarfile.TarInfo, budget: int) -> None:
    """Refuse members that have no place in an archive of images, before they are written."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or re.search(r"[\\:]", member.name):  # as on Windows
        fault = "would be written outside the data set"
    elif not (member.isreg() or member.isdir()):
        fault = "is a link or a device"
    elif budget < 0:
        fault = "makes it unpack to far more than its own size"
    else:
        return
    raise DataError(f"{dataset.name}: the archive from {dataset.url} is refused, {member.name!r} in it {fault}.")


def _verify(dataset: Entry, folder: Path) -> None:
    """Compare the number of images in each split with the catalog. Photos must be enough for all splits."""
    if dataset.photos:
        found, wanted = len(image_files(folder)), sum(dataset.splits.values())
        if found < wanted:
            raise DataError(
                f"{dataset.name}: the archive from {dataset.url} holds {found} photos, and the catalog wants "
                f"{wanted}; it is not the data set that p2plib knows."
            )
        return
    for split, expected in dataset.splits.items():
        found = sum(path.suffix.lower() in IMAGE_SUFFIXES for path in (folder / split).glob("*"))
        if found != expected:
            raise DataError(
                f"{dataset.name}: the archive from {dataset.url} holds {found} images in {dataset.name}/{split}, and "
                f"the catalog expects {expected}; it is not the data set that p2plib knows."
            )

"""Download data sets: fetch the archive, unpack it and verify the content. A data set is complete or not there at all.

While NAME is downloaded, these files are next to its final folder NAME:

    NAME.tar.gz.part        the archive so far; kept when the transfer fails, so that the next call resumes it
    NAME.tar.gz.part.json   the archive's address, size and validator, which show whether it can be resumed
    .NAME.unpack/           the folder where it is unpacked
    .NAME.lock              a lock between processes
"""

from __future__ import annotations

import gzip
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
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from p2plib.data.catalog import Entry, find
from p2plib.data.image import IMAGE_SUFFIXES, image_files
from p2plib.errors import DataError
from p2plib.files import locked, user_path, write_text

if TYPE_CHECKING:
    from requests import Response

TIMEOUT = 30.0
"""Seconds without data after which a connection counts as broken."""
RETRIES = 3
"""How often in a row a broken transfer is retried without progress."""
BACKOFF = 1.0
"""Seconds before the first retry; doubled for each further one."""

_CHUNK = 1 << 16
_GZIP = b"\x1f\x8b"
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
        return Path(tempfile.gettempdir(), f"p2plib-{os.getuid()}")


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
            is damaged, hostile or not what the catalog describes, or the disk is full or not writable.
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
                _fetch(dataset, dataset.url, part, progress)
                _install(dataset, part, target, progress)
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


def _fetch(dataset: Entry, url: str, part: Path, progress: bool) -> None:
    """Download the archive at `url` to `part`, and retry as long as each attempt gets further than the last."""
    import requests
    import urllib3

    furthest = failures = 0
    while True:
        try:
            return _transfer(dataset, url, part, progress)
        except requests.TooManyRedirects as error:
            raise _moved(dataset, url, "redirects in a circle") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            size = part.stat().st_size if part.exists() else 0
            failures = 1 if size > furthest else failures + 1
            furthest = max(furthest, size)
            if failures > RETRIES:
                why = error if isinstance(error, requests.HTTPError) else type(error).__name__
                raise DataError(
                    f"{dataset.name}: the transfer from {url} broke {failures} times in a row ({why}); check the "
                    f"connection and run the same again, which goes on from the {size / 1e6:.1f} MB that are here."
                ) from error
            time.sleep(BACKOFF * 2 ** (failures - 1))


def _transfer(dataset: Entry, url: str, part: Path, progress: bool) -> None:
    """Send one request, which starts or resumes the download; none if `part` is complete."""
    import requests

    have, known = _kept(part, url)
    if have and have == known["size"]:
        return
    have = have if known["validator"] else 0
    headers = {"Accept-Encoding": "identity", "User-Agent": "p2plib"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": known["validator"]}
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if not (have and _does_not_fit(response, have, known)):
            _check_answer(dataset, url, response, resumed=have > 0)
            return _receive(dataset, url, response, part, progress)
    _discard(part)
    _transfer(dataset, url, part, progress)


def _kept(part: Path, url: str) -> tuple[int, dict[str, Any]]:
    """The number of bytes from an earlier transfer, and the file's size and validator, as the server sent them."""
    try:
        known = json.loads(_notes(part).read_text(encoding="utf-8"))
        if known["url"] == url and {"size", "validator"} <= known.keys():
            return part.stat().st_size, known
    except (OSError, ValueError, TypeError, KeyError):
        pass  # missing or not to be trusted: start over
    return 0, {"size": None, "validator": None}


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


def _does_not_fit(response: Response, have: int, known: dict[str, Any]) -> bool:
    """Whether the answer to a range request does not continue the bytes that are here."""
    if response.status_code == 206:
        start, total = _content_range(response)
        same_file = _validator(response) in (None, known["validator"]) and total in (None, known["size"])
        return start != have or not same_file
    return response.status_code == 416


def _content_range(response: Response) -> tuple[int | None, int | None]:
    """First byte and size of the whole file, from the header `Content-Range: bytes FIRST-LAST/SIZE`."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
    if not match:
        return None, None
    return int(match[1]), None if match[2] == "*" else int(match[2])


def _validator(response: Response) -> str | None:
    """The value that shows later whether the file is still the same: a strong ETag, or the time of its last change."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _check_answer(dataset: Entry, url: str, response: Response, resumed: bool) -> None:
    """Refuse errors and web pages. Temporary errors are raised as requests' own, so that they are retried."""
    status = response.status_code
    if status in (408, 429) or status >= 500:
        response.raise_for_status()
    if status != 200 and not (status == 206 and resumed):
        raise _moved(dataset, url, f"answers {status} {response.reason}".rstrip())
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in ("application/xhtml+xml", "application/json", "application/xml"):
        raise _moved(dataset, url, f"answers with a web page or text ({kind}), not with an archive")


def _moved(dataset: Entry, url: str, what: str) -> DataError:
    return DataError(
        f"{dataset.name}: {url} {what}; look at the address in a browser, it may have moved or require a login, "
        f"or unpack the data set into {dataset_dir(dataset.name)} yourself."
    )


def _receive(dataset: Entry, url: str, response: Response, part: Path, progress: bool) -> None:
    """Write the body to `part`: appended if the server resumes the transfer, from the start otherwise."""
    import requests
    from tqdm import tqdm

    length = response.headers.get("Content-Length", "")
    start, total = 0, int(length) if length.isdigit() else None
    if response.status_code == 206:
        start, total = part.stat().st_size, _content_range(response)[1]
    # Undecoded: some servers declare a .tar.gz as gzip-encoded, and requests would then unpack it.
    chunks = response.raw.stream(_CHUNK, decode_content=False)
    first = next(chunks, b"")
    if start == 0 and not (first and _GZIP.startswith(first[:2])):  # the first chunk may be a single byte
        page = "a web page" if first.lstrip().startswith(b"<") else "something else"
        raise _moved(dataset, url, f"answers with {page}, not with a .tar.gz archive")
    if total is not None:
        _check_room(dataset, part.parent, 2 * total - start)  # the rest of the archive, and its contents
    with (
        open(part, "ab" if start else "wb") as file,
        tqdm(
            desc=dataset.name, initial=start, total=total, unit="B", unit_scale=True, disable=not progress, leave=False
        ) as bar,
    ):
        if start == 0:
            write_text(_notes(part), json.dumps({"url": url, "size": total, "validator": _validator(response)}))
        for chunk in chain([first], chunks):
            file.write(chunk)
            bar.update(len(chunk))
    if total is not None and part.stat().st_size != total:
        raise requests.ConnectionError(f"{part.stat().st_size} of {total} bytes arrived")


def _check_room(dataset: Entry, folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < need:
        raise DataError(
            f"{dataset.name}: needs {need / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB free; make room, or set "
            "P2PLIB_CACHE to a folder with room."
        )


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
        _discard(part)
    except DataError:
        _discard(part)  # resuming could not repair it
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
            while stream.read(_CHUNK):  # the checksum is at the end
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

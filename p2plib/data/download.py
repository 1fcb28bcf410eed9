"""Data sets from the network: fetch the archive, verify it, unpack it; whole or not at all.

While a download of NAME runs, these lie beside the finished folder NAME: the archive so far and what identifies it on
the server (`NAME.tar.gz.part`, `NAME.tar.gz.part.json`, both kept when the transfer breaks, so that the next call goes
on from there), the place where it is unpacked (`.NAME.unpack`), and a lock (`.NAME.lock`).
"""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import sys
import tarfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from p2plib.data.catalog import Dataset, find
from p2plib.data.image import IMAGE_SUFFIXES, image_files
from p2plib.errors import DataError
from p2plib.files import write_text

if TYPE_CHECKING:
    from requests import Response

TIMEOUT = 30.0
"""Seconds without a byte after which a connection counts as broken."""
RETRIES = 3
"""How often in a row a broken transfer is taken up again without getting any further."""
BACKOFF = 1.0
"""Seconds before the first retry; doubles with each."""

_CHUNK = 1 << 16
_GZIP = b"\x1f\x8b"
# Images are compressed already, so an archive of them unpacks to about its own size. Far more than that is a bomb.
_MAX_GROWTH = 10
_MAX_GROWTH_FREE = 100 << 20
_DISK_BLOCK = 4096


def cache_dir() -> Path:
    """Where downloads are kept: `$P2PLIB_CACHE`, or else the user's cache folder."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get("P2PLIB_CACHE") or user_cache_dir("p2plib", appauthor=False)).expanduser()


def dataset_dir(name: str) -> Path:
    """Where the finished data set `name` lies, or will lie: a folder that holds `train/` and the other splits."""
    return cache_dir() / "datasets" / find(name).name


def get(name: str, *, force: bool = False, progress: bool = True) -> Path:
    """Download, verify and unpack a data set of the catalog, unless that has been done.

    A broken transfer is retried, and the next call resumes it. Calls from several processes wait for one another.

    Args:
        name: a name in the catalog.
        force: fetch it anew; the old folder stays until the new one is complete.
        progress: show progress bars on stderr.

    Returns:
        The folder that holds `train/` and the other splits.

    Raises:
        DataError: unknown name, nothing to download, the server does not deliver the archive, the archive is damaged,
            hostile or not what the catalog describes, or the disk cannot take it. The message is one sentence, and
            there is no half data set.
    """
    dataset, target = find(name), dataset_dir(name)
    if dataset.url is None:
        raise DataError(f"{name}: needs no download, p2plib makes it; use it by its name.")
    if target.is_dir() and not force:
        return target
    part = target.with_name(f"{name}.tar.gz.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _lock(target.with_name(f".{name}.lock"), progress):
            if force or not target.is_dir():  # another process may have brought it meanwhile
                _fetch(dataset, dataset.url, part, progress)
                _install(dataset, part, target, progress)
    except OSError as error:
        raise DataError(
            f"{name}: cannot write to {target.parent} ({error.strerror or error}); make room there, or set "
            "P2PLIB_CACHE to a folder with room, and run the same again."
        ) from error
    return target


@contextmanager
def _lock(path: Path, progress: bool) -> Iterator[None]:
    """Hold `path` alone among processes; the system lets go of it when a process dies, however it dies."""
    with open(path, "ab") as file:
        waiting = False
        while not _try_lock(file):
            if progress and not waiting:
                sys.stderr.write(f"Waiting for another process that is downloading here ({path}).\n")
            waiting = True
            time.sleep(0.2)
        yield


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True


# Fetching.


def _fetch(dataset: Dataset, url: str, part: Path, progress: bool) -> None:
    """Bring the archive at `url` to `part`, taking up broken transfers as long as each gets further than the last."""
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


def _transfer(dataset: Dataset, url: str, part: Path, progress: bool) -> None:
    """One request that starts, resumes, or finds complete what `part` holds."""
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
    """How many bytes an earlier transfer from `url` left, and the file's size and validator as the server gave them."""
    try:
        known = json.loads(_notes(part).read_text(encoding="utf-8"))
        if known["url"] == url and {"size", "validator"} <= known.keys():
            return part.stat().st_size, known
    except (OSError, ValueError, TypeError, KeyError):
        pass  # nothing there, or nothing that can be trusted: start over
    return 0, {"size": None, "validator": None}


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


def _does_not_fit(response: Response, have: int, known: dict[str, Any]) -> bool:
    """Whether a server, asked to continue, has other bytes than those that belong behind the ones here, or none."""
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
    """What proves later that the file is still the same: a strong ETag, else the time of its last change."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _check_answer(dataset: Dataset, url: str, response: Response, resumed: bool) -> None:
    """Refuse errors and web pages; errors that may pass are raised as requests' own, to be retried."""
    status = response.status_code
    if status in (408, 429) or status >= 500:
        response.raise_for_status()
    if status != 200 and not (status == 206 and resumed):
        raise _moved(dataset, url, f"answers {status} {response.reason}".rstrip())
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in ("application/xhtml+xml", "application/json", "application/xml"):
        raise _moved(dataset, url, f"answers with a web page or text ({kind}), not with an archive")


def _moved(dataset: Dataset, url: str, what: str) -> DataError:
    return DataError(
        f"{dataset.name}: {url} {what}; look at the address in a browser, it may have moved or want a login, "
        f"or unpack the data set into {dataset_dir(dataset.name)} yourself."
    )


def _receive(dataset: Dataset, url: str, response: Response, part: Path, progress: bool) -> None:
    """Write the body to `part`, behind what is there if the server continues, else from the start."""
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


def _check_room(dataset: Dataset, folder: Path, need: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < need:
        raise DataError(
            f"{dataset.name}: needs {need / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB free; make room, or set "
            "P2PLIB_CACHE to a folder with room."
        )


# Unpacking.


def _install(dataset: Dataset, part: Path, target: Path, progress: bool) -> None:
    """Unpack and verify the archive beside `target`, then put it there in one step.

    Pairs have their splits in the archive's top folder. Photos may lie anywhere, so that the whole archive is kept.
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
        _discard(part)  # resuming could not mend it
        raise
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _unpack(dataset: Dataset, archive: Path, folder: Path, progress: bool) -> None:
    """Unpack the images of a .tar.gz into `folder`: regular files and folders only, within a bound on their size."""
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
                if not any(part.startswith(".") for part in PurePosixPath(member.name).parts):  # macOS adds such
                    tar.extract(member, folder)
            while stream.read(_CHUNK):  # the checksum stands at the end
                pass
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError, ValueError) as error:
        raise DataError(
            f"{dataset.name}: the archive from {dataset.url} is damaged ({error}); run the same again to fetch it anew."
        ) from error


def _check_member(dataset: Dataset, member: tarfile.TarInfo, budget: int) -> None:
    """Refuse what an archive of images has no reason to hold, before anything of it is written."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or re.search(r"[\\:]", member.name):  # \ and : act as such on Windows
        fault = "would be written outside the data set"
    elif not (member.isreg() or member.isdir()):
        fault = "is a link or a device"
    elif budget < 0:
        fault = "makes it unpack to far more than its own size"
    else:
        return
    raise DataError(f"{dataset.name}: the archive from {dataset.url} is refused, {member.name!r} in it {fault}.")


def _verify(dataset: Dataset, folder: Path) -> None:
    """Compare the images in each split with the catalog; of photos, there must be enough for all splits."""
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

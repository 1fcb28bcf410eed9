"""One transfer of an archive: what is here of it, whether a server's answer continues that, and the bytes it sends."""

from __future__ import annotations

import json
import re
import shutil
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from p2plib.data.catalog import Entry
from p2plib.errors import DataError
from p2plib.files import write_text

if TYPE_CHECKING:
    from requests import Response

CHUNK = 1 << 16
"""Bytes that are read at once."""
_GZIP = b"\x1f\x8b"


class AddressError(DataError):
    """An address that does not give the archive; another one may."""


def kept(part: Path, url: str) -> tuple[int, dict[str, Any]]:
    """The number of bytes from an earlier transfer, and the file's size and validator, as the server sent them."""
    try:
        known = json.loads(notes(part).read_text(encoding="utf-8"))
        if known["url"] == url and {"size", "validator"} <= known.keys():
            return part.stat().st_size, known
    except (OSError, ValueError, TypeError, KeyError):
        pass  # missing or not to be trusted: start over
    return 0, {"size": None, "validator": None}


def notes(part: Path) -> Path:
    """The file that says where the bytes in `part` come from."""
    return part.with_name(part.name + ".json")


def discard(part: Path) -> None:
    """Forget what is here."""
    part.unlink(missing_ok=True)
    notes(part).unlink(missing_ok=True)


def does_not_fit(response: Response, have: int, known: dict[str, Any]) -> bool:
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


def check_answer(dataset: Entry, url: str, response: Response, part: Path, resumed: bool) -> None:
    """Refuse errors and web pages. Temporary errors are raised as requests' own, so that they are retried."""
    status = response.status_code
    if status in (408, 429) or status >= 500:
        response.raise_for_status()
    if status != 200 and not (status == 206 and resumed):
        raise moved(dataset, url, part, f"answers {status} {response.reason}".rstrip())
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind.startswith("text/") or kind in ("application/xhtml+xml", "application/json", "application/xml"):
        raise moved(dataset, url, part, f"answers with a web page or text ({kind}), not with an archive")


def moved(dataset: Entry, url: str, part: Path, what: str) -> AddressError:
    """The error for an address that gives something else."""
    return AddressError(
        f"{dataset.name}: {url} {what}; look at the address in a browser, it may have moved or require a login, "
        f"or unpack the data set into {part.with_name(dataset.name)} yourself."
    )


def receive(dataset: Entry, url: str, response: Response, part: Path, progress: bool) -> None:
    """Write the body to `part`: appended if the server resumes the transfer, from the start otherwise."""
    import requests
    from tqdm import tqdm

    length = response.headers.get("Content-Length", "")
    start, total = 0, int(length) if length.isdigit() else None
    if response.status_code == 206:
        start, total = part.stat().st_size, _content_range(response)[1]
    # Undecoded: some servers declare a .tar.gz as gzip-encoded, and requests would then unpack it.
    chunks = response.raw.stream(CHUNK, decode_content=False)
    first = next(chunks, b"")
    if start == 0 and not (first and _GZIP.startswith(first[:2])):  # the first chunk may be a single byte
        page = "a web page" if first.lstrip().startswith(b"<") else "something else"
        raise moved(dataset, url, part, f"answers with {page}, not with a .tar.gz archive")
    if total is not None:
        _check_room(dataset, part.parent, 2 * total - start)  # the rest of the archive, and its contents
    with (
        open(part, "ab" if start else "wb") as file,
        tqdm(
            desc=dataset.name, initial=start, total=total, unit="B", unit_scale=True, disable=not progress, leave=False
        ) as bar,
    ):
        if start == 0:
            write_text(notes(part), json.dumps({"url": url, "size": total, "validator": _validator(response)}))
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

"""What went wrong between here and a hub, in one sentence for people, whatever the hub's package raised.

The packages' own errors differ from version to version, and some of their texts quote what was sent. So the HTTP
status counts, and words are only passed on where nothing else tells.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import logging
import re
from collections.abc import Iterator

from p2plib.errors import HubError
from p2plib.hub.names import HUBS, Name

_LOGIN = {
    "hf": "run: hf auth login (or set HF_TOKEN to a token from https://huggingface.co/settings/tokens)",
    "kaggle": "set KAGGLE_API_TOKEN to a token from https://www.kaggle.com/settings/api",
}
_CACHE = {"hf": "HF_HUB_CACHE", "kaggle": "KAGGLEHUB_CACHE"}
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR}
_NETWORK = ("requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2", "hf_xet")
"""Packages whose errors without a HTTP status are about the connection."""
# Credentials that an answer might echo: tokens, keys, headers, and the address that an upload goes to.
_SECRET = re.compile(
    r"\bhf_\w+|KGAT_\w+|\b[0-9a-f]{32}\b|\beyJ[\w-]+\.[\w-]+\.[\w-]+|(?<=Basic )\S+|(?<=Bearer )\S+|(?<=://)[^/\s@]+@"
    r"|(?<=upload_id=)[\w.%-]+"
)


def explained(name: Name, error: BaseException, sending: bool = False) -> HubError:
    """What to tell a person about an error of a hub's package.

    Args:
        name: the model that was asked for, or sent.
        error: anything that the package raised.
        sending: whether it was to be published.
    """
    if isinstance(error, HubError):
        return error
    hub, code = HUBS[name.hub], status(error)
    disk = next((one for one in _chain(error) if isinstance(one, OSError) and one.errno in _DISK), None)
    if disk is not None and code is None:
        why = f"the cache cannot be written ({disk.strerror}); make room, or set {_CACHE[name.hub]} to another folder"
    elif code == 401:
        why = f"{hub} takes no token from here, or an expired one; {_LOGIN[name.hub]} and try again"
        if not sending:
            why = f"{hub} has no such model for people who are not logged in; check the name, or {_LOGIN[name.hub]}"
    elif code == 403:
        why = f"{hub} denies you this; check the owner, and that your token may {'write' if sending else 'read it'}"
    elif code == 404:
        why = f"{hub} has no such model, version or file, or hides it from you; check the name, or {_LOGIN[name.hub]}"
    elif code in (409, 412):
        why = "it was changed by somebody else in this moment; look at it and try again"
    elif code == 429:
        why = f"{hub} has had too many requests from you; wait some minutes and try again"
    elif code is not None and code >= 500:
        why = f"{hub} cannot answer now (HTTP status {code}), the fault is on its side; try again later"
    elif code is None and any(isinstance(one, json.JSONDecodeError) for one in _chain(error)):
        why = f"the answer is not {hub}'s, but perhaps that of a proxy or a login page in between; look at your network"
    elif code is None and is_connection(error):
        rest = "; what has arrived stays" if sending else ""
        why = f"the connection to {hub} failed or broke; check it and run the same again{rest}"
    else:
        how = f" with HTTP status {code}" if code else ""
        why = f"{hub} refused it{how} ({said(error)}); mend that and try again"
    return HubError(f"{name}: {why}.")


def status(error: BaseException) -> int | None:
    """The HTTP status behind an error, if there is one."""
    for one in _chain(error):
        code = getattr(getattr(one, "response", None), "status_code", None) or getattr(one, "error_code", None)
        if code is None and (found := re.search(r"status code (\d{3})\b", str(one))):
            code = found[1]
        if str(code).isdigit():
            return int(str(code))
    return None


def is_connection(error: BaseException) -> bool:
    """Whether the network is behind an error, and not what was asked for."""
    return any(isinstance(one, ConnectionError | TimeoutError) or _package(one) in _NETWORK for one in _chain(error))


def is_about_a_file(error: BaseException) -> bool:
    """Whether a hub has the model, but not the file that was asked for."""
    names = {type(one).__name__ for one in _chain(error)}
    asked = {str(getattr(getattr(one, "response", None), "url", "")).rpartition("/")[2] for one in _chain(error)}
    return status(error) == 404 and bool(
        names & {"EntryNotFoundError", "RemoteEntryNotFoundError"} or asked & {"DownloadModelInstanceVersion"}
    )


def said(error: BaseException) -> str:
    """The words of an error in one line, without credentials."""
    text = without_secrets(" ".join(str(error).split())).rstrip(". ")
    return text if len(text) <= 300 else f"{text[:300]}..."


def without_secrets(text: str) -> str:
    """The text with credentials masked."""
    return _SECRET.sub("***", text)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what the hubs' packages log and print off the terminal: their errors are explained here."""
    loggers = [logging.getLogger(package) for package in ("huggingface_hub", "kagglehub")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _package(error: BaseException) -> str:
    return type(error).__module__.partition(".")[0]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and those that it was raised from or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__

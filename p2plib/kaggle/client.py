"""The client side of Kaggle: push a kernel, follow its session, and fetch its complete run.

All talk goes through the `kaggle` command. Its exit status says little: it is 0 for a push that Kaggle refused, and in
some versions when a web page was saved in place of a checkpoint. Its words change from version to version. So files
are judged by the kernel's manifest alone: only those that it names are asked for, and what comes is compared with it
before it replaces anything. Then the exit status and the HTTP status count. Words are read where nothing else tells,
and a person sees all of them where they are not understood.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from p2plib.errors import KaggleError
from p2plib.files import read_json, replacing
from p2plib.hub.faults import without_secrets
from p2plib.kaggle import manifest
from p2plib.kaggle.command import CredentialsError, UnclearError, run_kaggle, shown
from p2plib.kaggle.kernel import METADATA
from p2plib.kaggle.log import SessionLog
from p2plib.kaggle.manifest import MANIFEST, Entry

PATIENCE = 5
"""Consecutive failures to reach Kaggle after which `follow` gives up."""
SLOWEST = 4
"""Longest pause between two status requests, as a multiple of the first one."""

_RUN = "run"
"""The run folder in a kernel's output."""
_UNFINISHED = {"NEW_SCRIPT", "QUEUED", "RUNNING", "CANCEL_REQUESTED"}
_PNG = b"\x89PNG\r\n", b"IEND\xaeB`\x82"
"""How a PNG file begins and ends."""
_FILES_A_CALL = 100  # their names make up one argument, and Windows takes no more than 32,767 characters


@dataclass(frozen=True)
class Status:
    """The status of a kernel's newest session."""

    state: str
    """QUEUED, RUNNING, COMPLETE, ERROR, CANCEL_REQUESTED, CANCEL_ACKNOWLEDGED or NEW_SCRIPT."""
    message: str = ""
    """Kaggle's failure message."""

    @property
    def ended(self) -> bool:
        """Whether the session has ended."""
        return self.state not in _UNFINISHED

    def __str__(self) -> str:
        return f"{self.state}: {self.message}" if self.message else self.state


def push(folder: Path, seconds: int | None = None) -> str:
    """Send the kernel in `folder` to Kaggle, which starts a session of it.

    Args:
        folder: contains `kernel-metadata.json` and its notebook.
        seconds: time limit of the session; None means Kaggle's own limit.

    Returns:
        The URL of the kernel.

    Raises:
        KaggleError: it was not pushed, or was pushed under another name or without one of its sources.
    """
    limit = [] if seconds is None else ["-t", str(seconds)]
    text = run_kaggle("kernels", "push", "-p", str(Path(folder).resolve()), *limit)
    address = re.search(r"successfully pushed\. .* at (\S+)", text)
    if not address:
        if "Kernel push error" in text:
            raise KaggleError(f"{folder}: Kaggle refused it; mend what it says and push again:\n{shown(text)}")
        raise KaggleError(
            f"{folder}: it is not clear whether Kaggle took it; look whether a session of it runs, at "
            f"https://www.kaggle.com/code, before you push again. The command said:\n{shown(text)}"
        )
    lost = re.search(r"not valid (?:dataset|competition|kernel) sources .*: (\[.*\])", text)
    if lost:
        raise KaggleError(
            f"{folder}: was pushed without its sources {lost[1]}, which Kaggle does not find or not let you use; stop "
            f"the session at {address[1]}, mend {METADATA} and push again."
        )
    wanted = read_json(Path(folder) / METADATA)["id"]
    if f"/{wanted}/".lower() not in f"{address[1]}/".lower():
        raise KaggleError(
            f"{folder}: was pushed, but under the name that Kaggle makes of its title, {address[1]}; stop the session "
            f"there, let title and id in {METADATA} agree and push again."
        )
    return address[1]


def status(kernel_id: str) -> Status:
    """Get the status of a kernel's newest session.

    Args:
        kernel_id: "owner/slug".

    Raises:
        KaggleError: there is no such kernel, it is not yours, or Kaggle cannot be reached.
    """
    text = run_kaggle("kernels", "status", _checked(kernel_id))
    found = re.search(r'has status "(?:\w+\.)?(\w+)"(?:\s+Failure message: "(.*)")?', text, re.DOTALL)
    if not found:
        raise KaggleError(f"{kernel_id}: Kaggle's answer says no status; try again later:\n{shown(text)}")
    return Status(found[1], " ".join(without_secrets(found[2] or "").split()))


def follow(
    kernel_id: str, say: Callable[[str], None] = print, poll: float = 30.0, look: Callable[[], None] = lambda: None
) -> Status:
    """Show the status and log of a session until it ends.

    The status is requested every `poll` seconds at first, and less often later; short network failures are tolerated.

    Args:
        kernel_id: "owner/slug".
        say: called with each line.
        poll: seconds before the second status request.
        look: called before each further one, when all lines that were there have been shown.

    Returns:
        The final status; its state is COMPLETE on success.

    Raises:
        KaggleError: the first status request fails, several in a row, or one for want of credentials.
    """
    now, log, pause, failures = status(kernel_id), SessionLog(kernel_id), poll, 0
    say(f"{kernel_id}: {now}")
    try:
        while not now.ended:
            if now.state == "RUNNING":
                log.open()
            log.show(say, pause)
            look()
            pause = min(1.5 * pause, SLOWEST * poll)
            now, failures = _ask(kernel_id, now, failures, say)
        log.show_rest(say)
    finally:
        log.close()
    say(f"{kernel_id}: {now}")
    return now


def _ask(kernel_id: str, before: Status, failures: int, say: Callable[[str], None]) -> tuple[Status, int]:
    """The next status, and how many requests in a row have failed; what is new is said."""
    try:
        now = status(kernel_id)
    except KaggleError as error:
        if failures + 1 == PATIENCE or isinstance(error, CredentialsError):
            raise
        for line in str(error).splitlines():
            say(line)
        return before, failures + 1
    if now != before and not now.ended:
        say(f"{kernel_id}: {now}")
    return now, 0


def pull(
    kernel_id: str, run: Path, only: Literal["best", "last", "all"] = "all", say: Callable[[str], None] = print
) -> Path:
    """Download the run of a kernel into the folder `run`, verified against the kernel's manifest.

    Files are first downloaded to a temporary folder next to `run`. Once all are verified, each is moved atomically, the
    manifest last. Files that `run` already holds are not downloaded again. Its other files, and kernel output outside
    the run, are ignored.

    Args:
        kernel_id: "owner/slug".
        run: the run folder; created if missing.
        only: "best" downloads only the best generator of all checkpoints; "last" only the last generator and the
            training state.
        say: called with a line about the download.

    Returns:
        `run`.

    Raises:
        KaggleError: there is no finished run, a file is missing or wrong (then `run` is unchanged), or the disk is full
            or read-only.
    """
    _checked(kernel_id)
    folder = Path(run).resolve()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{folder.name}.pull-", dir=folder.parent) as temporary:
            names = _fetch(kernel_id, folder, only, Path(temporary), say)
            _move(names, Path(temporary) / _RUN, folder)
    except OSError as error:
        raise KaggleError(
            f"{run}: cannot be written ({error.strerror or error}); free disk space or give another folder."
        ) from error
    return run


def fetch_early(kernel_id: str, name: str, target: Path) -> bool:
    """Fetch a PNG file of a session that still runs, if Kaggle gives it.

    There is no manifest yet to compare it with. So it must be a whole PNG file, and no manifest may lie beside it: that
    would be the output of an earlier session.

    Args:
        kernel_id: "owner/slug".
        name: its path in the run folder.
        target: the file here; replaced.

    Returns:
        Whether it came. Nothing is raised if not, since whatever is wrong, the next status request tells.
    """
    with suppress(KaggleError), TemporaryDirectory(prefix="p2plib-") as folder:
        _download(_checked(kernel_id), [name, MANIFEST], Path(folder))
        came = Path(folder, _RUN, name)
        content = came.read_bytes() if came.is_file() else b""
        whole = content.startswith(_PNG[0]) and content.endswith(_PNG[1])
        if whole and not Path(folder, _RUN, MANIFEST).exists():
            with replacing(target) as temporary:
                temporary.write_bytes(content)
            return True
    return False


def complete(kernel_id: str) -> bool:
    """Whether the training has ended for good, by the manifest of a kernel whose session has ended.

    Args:
        kernel_id: "owner/slug".

    Raises:
        KaggleError: its output has no manifest.
    """
    with TemporaryDirectory(prefix="p2plib-") as folder:
        fault = _download(_checked(kernel_id), [MANIFEST], Path(folder))
        try:
            return manifest.complete(Path(folder, _RUN, MANIFEST))
        except KaggleError as error:
            raise KaggleError(f"{kernel_id}: its output has no {_RUN}/{MANIFEST}. {fault}".rstrip()) from error


def _fetch(kernel_id: str, folder: Path, only: str, temporary: Path, say: Callable[[str], None]) -> list[str]:
    """Download files missing in `folder` into `temporary` and verify them; return their names."""
    arrived = temporary / _RUN
    fault = _download(kernel_id, [MANIFEST], temporary)
    try:
        if not (arrived / MANIFEST).exists():
            raise KaggleError(
                f"{_RUN}/{MANIFEST} did not come."
                if fault
                else f"its output has no {_RUN}/{MANIFEST}, which is written when training has ended; is its session "
                f"COMPLETE? See: python -m p2plib kaggle status {kernel_id}"
            )
        entries = _select(manifest.read(arrived / MANIFEST), only)
        missing = [entry for entry in entries if not _holds(folder, entry)]
        size = sum(entry.size for entry in missing)
        say(f"{kernel_id}: {len(missing)} of {len(entries)} files to fetch, {size / 1e6:.1f} MB")
        if size > (free := shutil.disk_usage(temporary).free):
            raise KaggleError(
                f"its files do not fit into {folder.parent}, which has {free / 1e6:.1f} MB free; free disk space."
            )
        fault = _download(kernel_id, [entry.name for entry in missing], temporary)
        for entry in missing:
            manifest.check(arrived / entry.name, entry)
    except KaggleError as error:
        text = f"{error} {fault}".rstrip().replace(f"{temporary}{os.sep}", "").removeprefix(f"{kernel_id}: ")
        raise KaggleError(f"{kernel_id}: {text}") from error
    return [entry.name for entry in missing] + [MANIFEST]


def _select(entries: Sequence[Entry], only: str) -> list[Entry]:
    """The small files and the requested checkpoints."""
    wanted = {"best": ["best.keras"], "last": ["last.keras", "state.npz"]}.get(only)
    if wanted is None:
        return list(entries)
    paths = [f"checkpoints/{name}" for name in wanted]
    lacking = set(paths) - {entry.name for entry in entries}
    if lacking:
        raise KaggleError(f"the run has no {' and no '.join(sorted(lacking))}; download everything with only='all'.")
    return [entry for entry in entries if entry.name in paths or not entry.name.startswith("checkpoints/")]


def _holds(folder: Path, entry: Entry) -> bool:
    try:
        manifest.check(folder / entry.name, entry)
    except KaggleError:
        return False
    return True


def _download(kernel_id: str, names: Sequence[str], into: Path) -> str:
    """Fetch files of the run, by name: so that no other name, in whatever the output lists, is written anywhere.

    Returns:
        What to tell a person if files are missing or wrong. The command may fail though all have come, and the other
        way round: the files themselves tell.
    """
    for start in range(0, len(names), _FILES_A_CALL):
        choice = "|".join(re.escape(name) for name in names[start : start + _FILES_A_CALL])
        pattern = rf"^{_RUN}/(?:{choice})\Z"
        try:
            run_kaggle("kernels", "output", kernel_id, "-p", str(into), "--quiet", "--file-pattern", pattern)
        except UnclearError as error:
            return str(error)
    return ""


def _move(names: Sequence[str], source: Path, target: Path) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(source / name, target / name)


def _checked(kernel_id: str) -> str:
    """Validate the id, which becomes an argument and, in the command, a file name."""
    if not re.fullmatch(r"\w[\w-]*/\w[\w-]*", kernel_id):
        raise KaggleError(f"{kernel_id!r} is not a kernel id; give owner/slug, as in kaggle.com/code/owner/slug.")
    return kernel_id

"""The `kaggle` command: run it, and tell a person what went wrong when it fails."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from p2plib.errors import KaggleError
from p2plib.hub.faults import without_secrets

TIMEOUT = 300.0
"""Timeout of a command in seconds, except downloads."""

# How requests, by which the command talks, names the HTTP status of a failure: "403 Client Error: Forbidden for url".
_HTTP = re.compile(r"\b([45]\d\d) (?:Client|Server) Error\b")
_BAR = re.compile(r"\r[^\r\n]*")
"""A state of a progress bar."""


class UnclearError(KaggleError):
    """The command failed, and only its own words tell why."""


class CredentialsError(KaggleError):
    """Kaggle does not know the user, or does not let the user: asking again is of no use."""


def command(*arguments: str) -> list[str]:
    """The `kaggle` command of this Python; -P ignores a kaggle.py in the working directory."""
    return [sys.executable, "-P", "-m", "kaggle", "--no-warn", *arguments]


def pipes() -> dict[str, Any]:
    """Options that prevent prompts and force UTF-8, since the command saves logs in the local encoding."""
    environment = os.environ | {"PYTHONUTF8": "1"}
    return {"stdin": subprocess.DEVNULL, "env": environment, "encoding": "utf-8", "errors": "replace"}


def run_kaggle(*arguments: str) -> str:
    """Run `kaggle GROUP COMMAND ...`, such as `kaggle kernels push`, and return its output.

    Raises:
        KaggleError: its exit status says that it failed, it hangs, or is not installed.
    """
    limit = None if arguments[1] == "output" else TIMEOUT
    try:
        done = subprocess.run(command(*arguments), capture_output=True, timeout=limit, **pipes())  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise KaggleError(
            f"kaggle {' '.join(arguments[:2])}: no response within {limit:.0f} s; check the connection and try again."
        ) from error
    text = f"{done.stdout}\n{done.stderr}"
    if done.returncode:
        raise _fault(arguments, text)
    return text


def run_watched(*arguments: str) -> str:
    """As `run_kaggle`, for as long as an upload takes; its progress bars move here, too, if there is a terminal.

    Raises:
        KaggleError: as `run_kaggle`.
    """
    parts: list[bytes] = []
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command(*arguments), env=pipes()["env"], **options) as process:  # noqa: S603
        try:
            while process.stdout and (part := os.read(process.stdout.fileno(), 1 << 16)):
                parts.append(part)
                _echo("".join(_BAR.findall(part.decode("utf-8", "replace"))))
        except BaseException:  # Ctrl-C in a notebook reaches this process alone
            process.kill()
            raise
    _echo("\n")
    text = re.sub(r"[^\n]*\r(?!\n)", "", b"".join(parts).decode("utf-8", "replace"))
    if process.returncode:
        raise _fault(arguments, text)
    return text


def _echo(text: str) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(text)
        sys.stderr.flush()


def _fault(arguments: Sequence[str], text: str) -> KaggleError:
    """What to tell a person about a command that failed and printed `text`."""
    found = _HTTP.search(text)
    http = int(found[1]) if found else 0
    if re.search("No module named '?kaggle", text):
        return KaggleError("The kaggle command is not installed here; run: pip install 'p2plib[kaggle]'")
    if http == 401 or "Authentication required" in text:
        return CredentialsError(
            "Kaggle was given no credentials that it takes; run: kaggle auth login (or set KAGGLE_API_TOKEN to a token "
            "from https://www.kaggle.com/settings/api) and try again."
        )
    if "'kernels.get' was denied" in text:  # in place of HTTP status 403
        return CredentialsError(f"{arguments[2]}: Kaggle denies you access; check owner, slug, and credentials.")
    if "Upload unsuccessful" in text:
        return KaggleError("The upload broke off; give the same command again, and it goes on where it ended.")
    if http == 429 or re.search("too many requests", text, re.IGNORECASE):
        return KaggleError("Kaggle is asked too often (HTTP status 429); wait some minutes and try again.")
    if "Max retries exceeded" in text:
        return KaggleError("Kaggle cannot be reached from here; check the connection and try again.")
    if http >= 500:
        return KaggleError(f"Kaggle cannot answer now (HTTP status {http}), the fault is on its side; try again later.")
    status = f" with HTTP status {http}" if http else ""
    return UnclearError(
        f"kaggle {' '.join(arguments[:2])} failed{status}; mend what it says, or try again later:\n{shown(text)}"
    )


def shown(text: str) -> str:
    """All that a command said, for a person to read."""
    return without_secrets(text).strip() or "(It printed nothing.)"

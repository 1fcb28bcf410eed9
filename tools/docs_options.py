"""The reference of the command line as Markdown, from the help of every command: `python tools/docs_options.py`."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from p2plib.cli import main as command_line

WIDE = "1000"
"""Columns of the terminal that the help is written for, so that it breaks no line by itself."""


class Option(NamedTuple):
    """One option or argument of a command."""

    usage: str
    """As it is typed, with the form of its value: --image-size INT|STR."""
    text: str
    default: str


def commands() -> list[tuple[str, ...]]:
    """The words of every command, those of groups after the others."""
    single = [(name,) for name in command_line.COMMANDS]
    return single + [(group, name) for group, (_, table) in command_line.GROUPS.items() for name in table]


def help_of(command: tuple[str, ...]) -> str:
    """What `python -m p2plib COMMAND --help` prints."""
    before, printed = os.environ.get("COLUMNS"), io.StringIO()
    os.environ |= {"COLUMNS": WIDE, "NO_COLOR": "1"}
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            command_line.main([*command, "--help"])
    finally:
        os.environ.pop("COLUMNS") if before is None else os.environ.update(COLUMNS=before)
    return printed.getvalue()


def parse(text: str) -> tuple[str, list[Option]]:
    """The description of a command's help, and its options."""
    usage_and_more, *blocks = re.split(r"^ (?:positional arguments|options) *\n -+ *\n", text, flags=re.MULTILINE)
    description = usage_and_more.split("\n\n", 1)[1].strip()
    return description, [option for block in blocks for option in _options(block)]


def _options(block: str) -> Iterator[Option]:
    for entry in re.split(r"^  (?=\S)", block, flags=re.MULTILINE)[1:]:
        usage, _, text = entry.strip().partition("\n") if "  " not in entry.split("\n")[0].strip() else _beside(entry)
        text = " ".join(text.split())
        default = re.search(r" ?\((?:default: ((?:(?! \(default: ).)*)|(required))\)$", text)
        if not usage.startswith("-h"):
            yield Option(usage.strip(), text[: default.start()] if default else text, _default(default))


def _beside(entry: str) -> tuple[str, str, str]:
    """Usage and text of an option whose text begins in the same line."""
    usage, text = re.split(r" {2,}", entry.strip(), maxsplit=1)
    return usage, "", text


def _default(match: re.Match[str] | None) -> str:
    if match is None:
        return ""
    value = {"False": "off", "True": "on"}.get(match[1] or "", match[1] or "")
    return "required" if match[2] else f"default `{value}`" if value else ""


def markdown(command: tuple[str, ...], shared: dict[str, Option]) -> str:
    """The section of a command; options that are in `shared`, those of `train`, are not said again."""
    description, options = parse(help_of(command))
    own = [option for option in options if shared.get(option.usage) != option]
    words = " ".join(command)
    typed = f"python -m p2plib {words} {_form(own)}".rstrip()
    lines = [f"## {words}", "", "```text", typed, "```", "", description, ""]
    for each in own:
        name = each.usage.split(",")[0].split()[0].strip("-").lower()
        default = f", {each.default}" if each.default else ""
        lines += [f"`{plain(each.usage)}`{{ #{'-'.join(command)}-{name} }}{default}", f":   {_text(each.text)}", ""]
    if len(own) < len(options):
        lines += ["All options of [train](#train) can follow.", ""]
    return "\n".join(lines) + "\n"


def plain(usage: str) -> str:
    """An option as people write it: what stands for "not given" is left to its default."""
    usage = re.sub(r"\{None\}\|\{?([^{}]*)\}?", r"\1", usage).replace("{None,", "{")
    usage = re.sub(r"\[(\w+) \[\1 \.\.\.\]\]", r"\1 ...", usage)
    return re.sub(r"\[(NAME WEIGHT) \[\1 \.\.\.\]\]", r"\1 ...", usage)


def _form(options: list[Option]) -> str:
    arguments = [option.usage for option in options if not option.usage.startswith("-")]
    return " ".join([*arguments, "[OPTIONS]" if len(options) > len(arguments) else ""])


def _text(text: str) -> str:
    """A sentence, as in a docstring, in which no sign outside of code has a meaning in Markdown."""
    return re.sub(r"([*_<$])(?![^`]*`(?:[^`]*`[^`]*`)*[^`]*$)", r"\\\1", text[:1].upper() + text[1:])


def reference() -> str:
    """The sections of all commands."""
    shared = {option.usage: option for option in parse(help_of(("train",)))[1]}
    return "\n".join(markdown(command, {} if command == ("train",) else shared) for command in commands())


if __name__ == "__main__":
    print(reference())

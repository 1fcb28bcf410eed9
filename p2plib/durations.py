"""Durations as people write them."""

from __future__ import annotations

import re

from p2plib.errors import ConfigError


def seconds(duration: str, what: str = "time_budget") -> float:
    """Parse a duration such as "8.5h", "90m", "200s" or "1h30m" (a bare number means seconds).

    Raises:
        ConfigError: the text is not a positive duration.
    """
    text = duration.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        total = float(text)
    elif re.fullmatch(r"(\d+(\.\d+)?[hms])+", text):
        unit = {"h": 3600, "m": 60, "s": 1}
        total = sum(float(number) * unit[letter] for number, _, letter in re.findall(r"(\d+(\.\d+)?)([hms])", text))
    else:
        total = 0.0
    if total <= 0:
        raise ConfigError(f"{what} is {duration!r}, which is no duration; write for example 8.5h, 90m or 200s.")
    return total

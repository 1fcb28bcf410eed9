"""Imports TensorFlow without the lines that its C++ part writes to the terminal before any setting can stop them."""

from __future__ import annotations

import importlib
import os
import re
import sys
import tempfile
from typing import Any

_CHATTER = re.compile(rb"WARNING: All log messages before absl::InitializeLog|[IW]\d{4} |To enable the following instr")
"""How information and warnings begin; errors (E) and fatal errors (F) pass."""


def load(module: str) -> Any:
    """Import a module. What it writes to the process' stderr is passed on afterwards, without TensorFlow's chatter."""
    if module in sys.modules:
        return sys.modules[module]
    sys.stderr.flush()
    with tempfile.TemporaryFile() as kept:
        try:
            stderr = os.dup(2)
            os.dup2(kept.fileno(), 2)
        except OSError:  # stderr is closed
            return importlib.import_module(module)
        try:
            return importlib.import_module(module)
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            kept.seek(0)
            for line in kept:
                if not _CHATTER.match(line):
                    os.write(2, line)

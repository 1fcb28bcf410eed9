"""Imports Keras and TensorFlow without the lines that TensorFlow's C++ part writes before any setting can stop them."""

from __future__ import annotations

import importlib
import logging
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from p2plib.errors import ConfigError
from p2plib.files import user_path

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


def without_retracing(record: logging.LogRecord) -> bool:
    """Drop TensorFlow's advice against many traces: several models in one process have one each, as they must."""
    return "triggered tf.function retracing" not in str(record.msg)


def load_keras() -> Any:
    """Import Keras, as `load`.

    Raises:
        ConfigError: Keras does not start with what its `keras.json` says on this machine.
    """
    settings = Path(os.environ.get("KERAS_HOME") or user_path("~/.keras"), "keras.json")
    logging.getLogger("tensorflow").addFilter(without_retracing)
    try:
        return load("keras")
    except (ValueError, AttributeError, TypeError) as error:
        if not settings.exists():
            raise
        raise ConfigError(f"{settings}: Keras cannot start with it ({error}); mend or remove this file.") from error

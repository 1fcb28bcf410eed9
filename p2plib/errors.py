"""Errors that a user can act on: the command line prints their text, without a traceback."""

from __future__ import annotations


class P2PError(Exception):
    """Something outside the program is wrong; the message says what, where, and how to fix it."""


class ConfigError(P2PError):
    """A setting, or a combination of settings, that cannot work."""


class DataError(P2PError):
    """An image, a pair or a data set that cannot be used."""


class UnsupportedError(DataError):
    """A file that is whole, but holds what p2plib does not take, such as too many channels."""


class CheckpointError(P2PError):
    """A checkpoint or run folder that is missing, damaged, or of another kind."""


class WriteError(P2PError, OSError):
    """A file or folder that cannot be written; what was there before is intact.

    Args:
        message: what the command line prints.
        reason: the system's word for it, for example "No space left on device".
    """

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class TrainingError(P2PError):
    """Training cannot continue; everything saved before is intact."""


class KaggleError(P2PError):
    """A problem with Kaggle, its command, or files from it."""


class HubError(P2PError):
    """A model hub, or a model on it, that cannot be used; nothing is lost, here or there."""


class ExportError(P2PError):
    """A model that cannot be exported, or an exported model that cannot be used."""

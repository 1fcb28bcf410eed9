"""The web app: draw or upload an image in a browser and translate it with a model."""

from __future__ import annotations

from p2plib.errors import ConfigError

try:
    import flask  # noqa: F401
    import waitress  # noqa: F401
except ImportError as error:
    raise ConfigError(f"{error.name} is not installed; run: pip install 'p2plib[web]'") from error

from p2plib.web.app import create_app
from p2plib.web.limits import Limits
from p2plib.web.serve import serve

__all__ = ["Limits", "create_app", "serve"]

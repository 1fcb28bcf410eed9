"""A real JupyterLab on 127.0.0.1, with settings and state of its own."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120
FOLDERS = {
    "JUPYTER_CONFIG_DIR": "config",
    "JUPYTER_RUNTIME_DIR": "runtime",
    "JUPYTER_DATA_DIR": "data",
    "JUPYTERLAB_SETTINGS_DIR": "settings",
    "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    "IPYTHONDIR": "ipython",
}
SETTINGS = {
    "notebook-extension/tracker": {"windowingMode": "none"},  # every cell stays in the page
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},  # no pop-up over the page
}


@dataclass(frozen=True)
class Lab:
    """Where a JupyterLab listens."""

    base: str
    token: str

    def url(self, notebook: str) -> str:
        """The page of one notebook alone."""
        return f"{self.base}/doc/tree/{notebook}?token={self.token}&reset"

    def up(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"{self.base}/api/status?token={self.token}", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False


@contextmanager
def jupyterlab(folder: Path, state: Path, **variables: str) -> Iterator[Lab]:
    """Serve the notebooks in `folder`; all that JupyterLab writes goes to `state`.

    `variables` are added to the environment of its kernels.
    """
    lab = Lab(f"http://127.0.0.1:{_free_port()}", secrets.token_hex(16))
    with open(state / "lab.log", "wb") as log:
        process = subprocess.Popen(
            _command(lab, folder),
            cwd=folder,
            env=_environment(state) | variables,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + SECONDS
            while not lab.up():
                assert process.poll() is None and time.monotonic() < deadline, (state / "lab.log").read_text()[-2000:]
                time.sleep(0.1)
            yield lab
        finally:
            process.terminate()  # it ends its kernels
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _command(lab: Lab, folder: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
        f"--ServerApp.root_dir={folder}",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={lab.base.rpartition(':')[2]}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={lab.token}",
        "--LabApp.expose_app_in_browser=True",  # as window.jupyterapp
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
    ]


def _environment(state: Path) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "IPYTHON"))}
    for name, folder in FOLDERS.items():
        (state / folder).mkdir(parents=True)
        environment[name] = str(state / folder)
    for name, values in SETTINGS.items():
        file = state / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    return environment | {"PYTHONPATH": str(ROOT)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

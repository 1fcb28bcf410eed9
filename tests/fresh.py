"""What code imports, in a process that has imported nothing yet."""

from __future__ import annotations

import subprocess
import sys


def run_and_list(code: str, *packages: str) -> tuple[str, list[str]]:
    """Run `code` in a fresh Python; returns what it printed, and which of `packages` it imported."""
    listing = f"import sys; print(*sorted(set({packages}) & set(sys.modules)))"
    command = [sys.executable, "-c", f"import atexit; atexit.register(exec, {listing!r}, {{}})\n{code}"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    *lines, found = printed.splitlines()
    return "\n".join(lines), found.split()

"""Execute notebooks/*.py (percent format) into *.ipynb whose bytes repeat: `make notebooks`.

`--sync` executes nothing: it brings changed texts into the .ipynb, and stops where code has changed.

Stable are: the cells' ids, the kernel's metadata, and training (TF_DETERMINISTIC_OPS). An output that differs only in
the date of a run folder stays as it was stored; so does that of a cell tagged `timing`, until its source changes. Of
widgets, which live in a kernel, only the HTML is stored.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

DATE = r"\d{8}-\d{6}"
LANGUAGE = {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"}
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "TF_DETERMINISTIC_OPS": "1"}


def build(source: Path) -> None:
    """Execute one notebook, and write it if anything but measured times changed."""
    started = time.monotonic()
    notebook, path = read(source), source.with_suffix(".ipynb")
    before = path.read_text(encoding="utf-8") if path.exists() else None
    with tempfile.TemporaryDirectory() as folder:  # where the run folders of training go
        execute(notebook, folder)
    notebook.metadata["language_info"] = LANGUAGE
    drop_widgets(notebook)
    if before:
        keep_times(notebook, nbformat.reads(before, as_version=4))
    text = nbformat.writes(notebook) + "\n"
    if text != before:
        path.write_text(text, encoding="utf-8")
    state = "unchanged" if text == before else "written"
    seconds = time.monotonic() - started
    record_time(source.with_name("times.json"), source.stem, seconds)
    print(f"{path.name}: {seconds:.0f} s, {len(text) / 1024:.0f} KiB, {state}", flush=True)


def read(source: Path) -> NotebookNode:
    """The .py half as a notebook without outputs, with its kernel and the ids of its cells."""
    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}
    for i, cell in enumerate(notebook.cells):
        cell["id"] = f"{source.stem}-{i:02d}"
    return notebook


def sync(source: Path) -> None:
    """Write the notebook with the texts of its .py half, and the outputs that are stored for the same code."""
    notebook, path = read(source), source.with_suffix(".ipynb")
    stored = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        known = next((old for old in stored if old.source == cell.source), None)
        if known:
            stored.remove(known)
        elif "setup" not in cell.metadata.get("tags", []):  # which does nothing where p2plib is installed
            sys.exit(f"{source.name}: this code is new, so execute the notebook (without --sync):\n{cell.source}")
        cell.execution_count, cell.outputs = count, known.outputs if known else []
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
    notebook.metadata["language_info"] = LANGUAGE
    path.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


def record_time(path: Path, name: str, seconds: float) -> None:
    """Keep how long a notebook took, if it is not about what is known; docs/tutorials.md and the notebook say it."""
    times = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if not 0.75 < seconds / times.get(name, 1e-9) < 1.25:
        times[name] = round(seconds)
        path.write_text(json.dumps(times, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        print(f"{path.name}: {name} takes {seconds:.0f} s; say so in the notebook and in docs/tutorials.md", flush=True)


def execute(notebook: NotebookNode, folder: str) -> None:
    """Run all cells in a fresh kernel that works in `folder`."""
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        coalesce_streams=True,
        resources={"metadata": {"path": folder}},
    )
    client.execute()


def keep_times(notebook: NotebookNode, before: NotebookNode) -> None:
    """Take over the stored outputs of cells in which only measured times or the dates of runs changed.

    Dates are taken over for all cells or for none, so that a run has one name in the whole notebook.
    """
    stored = {cell.source: cell.outputs for cell in before.cells if cell.cell_type == "code"}
    known = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source in stored]
    timed = [cell for cell in known if "timing" in cell.metadata.get("tags", [])]
    same = [cell for cell in known if undated(cell.outputs) == undated(stored[cell.source])]
    dated = [cell for cell in known if re.search(DATE, json.dumps(cell.outputs)) and cell not in timed]
    for cell in [*timed, *(same if all(cell in same for cell in dated) else [c for c in same if c not in dated])]:
        cell.outputs = stored[cell.source]


def undated(outputs: list[NotebookNode]) -> str:
    """Outputs as text, without the dates in the names of run folders."""
    return re.sub(DATE, "", json.dumps(outputs, sort_keys=True))


def drop_widgets(notebook: NotebookNode) -> None:
    """Leave the HTML of each widget: its model is gone with the kernel."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("application/vnd.jupyter.widget-view+json", None)


if __name__ == "__main__":
    os.environ.update(ENVIRONMENT)
    here = Path(__file__).resolve().parents[1] / "notebooks"
    named = [Path(name) for name in sys.argv[1:] if name != "--sync"]
    for source in named or sorted(here.glob("*.py")):
        sync(source) if "--sync" in sys.argv else build(source)

"""What is no exported model is refused by name, and what runs one is asked for by name."""

from __future__ import annotations

import sys

import pytest

from p2plib.errors import ExportError
from p2plib.inference import engines
from p2plib.inference.engines import FORMATS, format_of, open_engine


@pytest.mark.parametrize("name", FORMATS)
def test_the_file_tells_the_format(name, tmp_path):
    assert format_of(tmp_path) is None
    (tmp_path / FORMATS[name].file).touch()
    assert format_of(tmp_path) == name


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(ExportError, match=f"{tmp_path.name}: holds no exported model"):
        open_engine(tmp_path)
    with pytest.raises(ExportError, match="nowhere: holds no exported model"):
        open_engine("nowhere")


@pytest.mark.parametrize("content", [b"", b"no model" * 100], ids=["empty", "text"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_model_is_refused_by_name(name, content, tmp_path):
    (tmp_path / FORMATS[name].file).write_bytes(content)
    with pytest.raises(ExportError, match=f"{tmp_path.name}: the model cannot be opened"):
        open_engine(tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(name, tmp_path, monkeypatch):
    (tmp_path / FORMATS[name].file).touch()
    [package] = FORMATS[name].needs
    monkeypatch.setitem(sys.modules, package, None)
    extra = "tensorflow" if name == "savedmodel" else "export"
    with pytest.raises(ExportError, match=rf"{package} is not installed.*pip install 'p2plib\[{extra}\]'"):
        open_engine(tmp_path)


def test_what_is_installed_is_not_imported_to_find_out(monkeypatch):
    monkeypatch.delitem(sys.modules, "wsgiref", raising=False)
    engines.require("wsgiref")
    assert "wsgiref" not in sys.modules

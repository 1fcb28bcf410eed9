"""Videos as a notebook stores them; tests/browser plays one."""

from __future__ import annotations

import base64

import pytest
from markup import Tags

from p2plib.errors import ConfigError
from p2plib.show import videos as module
from p2plib.show.videos import videos


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / "before.mp4", tmp_path / "after <b>.webm"]
    for path, content in zip(paths, (b"first", b"second"), strict=True):
        path.write_bytes(content)
    return paths


def test_the_files_are_in_the_page(files):
    page = Tags(videos(*files)._repr_html_())
    first, second = page.named("video")
    assert [base64.b64decode(video["src"].partition(",")[2]) for video in (first, second)] == [b"first", b"second"]
    assert first["src"].startswith("data:video/mp4;base64,") and second["src"].startswith("data:video/webm;base64,")
    assert {"controls", "loop", "muted", "playsinline"} <= set(first)
    assert (first["aria-label"], second["aria-label"]) == ("before", "after <b>")
    assert {tag for tag, _ in page.tags} == {"div", "figure", "video", "figcaption"}
    assert "before" in page.text and "after <b>" in page.text


def test_labels_are_given_or_the_files_names(files):
    page = Tags(videos(str(files[0]), labels=["flight"]).text)
    assert page.text.strip() == page.named("video")[0]["aria-label"] == "flight"
    with pytest.raises(ConfigError, match="2 videos, but 1 labels"):
        videos(*files, labels=["flight"])


def test_what_cannot_be_shown_is_refused_with_a_sentence(files, monkeypatch):
    with pytest.raises(ConfigError, match="no videos"):
        videos()
    for missing in (files[0].with_name("other.mp4"), files[0].parent):
        with pytest.raises(ConfigError, match="there is no such video file"):
            videos(files[0], missing)
    text = files[0].rename(files[0].with_suffix(".txt"))
    with pytest.raises(ConfigError, match="not a video that a browser plays"):
        videos(text)
    monkeypatch.setattr(module, "LARGEST", 5)
    with pytest.raises(ConfigError, match="show a shorter or smaller clip"):
        videos(files[1])

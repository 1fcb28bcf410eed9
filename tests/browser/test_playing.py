"""Videos of a notebook, played by a browser."""

from __future__ import annotations

import numpy as np
import pytest

from p2plib.show.videos import videos

av = pytest.importorskip("av")
PLAYS_H264 = """() => document.createElement('video').canPlayType('video/mp4; codecs="avc1.42E01E"')"""
READY = "() => [...document.querySelectorAll('video')].every(v => v.readyState >= 2)"
TIMES = "videos => videos.map(v => [v.duration, v.currentTime, v.paused, v.videoWidth])"


@pytest.fixture
def clips(tmp_path):
    """Two clips of one second, of the kind that `translate_video` writes."""
    paths = []
    for name, level in (("before", 60), ("after", 200)):
        paths.append(tmp_path / f"{name}.mp4")
        with av.open(str(paths[-1]), "w") as file:
            stream = file.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for i in range(10):
                image = np.full((48, 64, 3), level + i, np.uint8)
                file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            file.mux(stream.encode())
    return paths


def test_they_play_side_by_side_and_together(page, tmp_path, clips):
    html = tmp_path / "page.html"
    html.write_text(videos(*clips).text)
    page.goto(html.as_uri())
    if not page.evaluate(PLAYS_H264):
        pytest.skip("this browser has no H.264")
    page.wait_for_function(READY)
    both = page.locator("video")
    for duration, time, paused, width in both.evaluate_all(TIMES):
        assert (round(duration), time, paused, width) == (1, 0, True, 64)
    left, right = (both.nth(i).bounding_box() for i in range(2))
    assert left["y"] == right["y"] and left["x"] + left["width"] <= right["x"]
    assert page.locator("figcaption").all_text_contents() == ["before", "after"]

    both.first.evaluate("video => video.play()")
    page.wait_for_function("() => [...document.querySelectorAll('video')].every(v => !v.paused && v.currentTime > 0.2)")
    both.last.evaluate("video => video.pause()")
    page.wait_for_function("() => [...document.querySelectorAll('video')].every(v => v.paused)")
    both.first.evaluate("video => { video.currentTime = 0.7 }")
    page.wait_for_function("() => Math.abs(document.querySelectorAll('video')[1].currentTime - 0.7) < 0.15")
    assert (page.errors, page.outside) == ([], [])

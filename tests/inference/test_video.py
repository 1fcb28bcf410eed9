"""Videos that the tests make: frames, times, sound, rotation and size survive, flicker is measured and reduced."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage.color import rgb2lab

av = pytest.importorskip("av")
pytest.importorskip("keras")

import p2plib  # noqa: E402
from p2plib.config import TrainConfig  # noqa: E402
from p2plib.data import color, toy  # noqa: E402
from p2plib.errors import ConfigError, DataError  # noqa: E402
from p2plib.inference import video  # noqa: E402
from p2plib.inference.checkpoint import Checkpoint, CheckpointInfo  # noqa: E402

SIZE = 32
FRAMES = 20
CLOCKWISE = [0, 1 << 16, 0, -1 << 16, 0, 0, SIZE << 16, 0, 1 << 30]
"""The display matrix of a phone held upright: (x, y) is shown at (height - y, x), a quarter turn clockwise."""


class Negative:
    """The simplest generator that is seen to work."""

    def predict_on_batch(self, x: np.ndarray) -> np.ndarray:
        return -x


class Nervous:
    """The image itself, brighter or darker from one image to the next."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def predict_on_batch(self, x: np.ndarray) -> np.ndarray:
        return 0.6 * x + self.rng.uniform(-0.3, 0.3, (len(x), 1, 1, 1)).astype(np.float32)


def checkpoint(generator: Any) -> Checkpoint:
    return Checkpoint(generator, CheckpointInfo(TrainConfig(image_size=SIZE), ("A", "B"), 0, 0, {}))


def drift(count: int = FRAMES, height: int = SIZE, width: int = SIZE) -> list[np.ndarray]:
    """A low flight over the toy city, two pixels a frame."""
    city = toy.city(0, 512)[0][200:, 200:]
    return [np.ascontiguousarray(city[2 * i :, 2 * i :][:height, :width]) for i in range(count)]


def write(
    path: Path,
    images: list[np.ndarray],
    times: list[int] | None = None,
    sound: str | None = "aac",
    matrix: list[int] | None = None,
) -> Path:
    """Write a video at 25 frames a second, or with frames at `times` in ms, with a sine tone of 440 Hz."""
    base = Fraction(1, 1000) if times else Fraction(1, 25)
    with av.open(path, "w") as container:
        odd = images[0].shape[0] % 2 or images[0].shape[1] % 2
        stream = container.add_stream("libx264rgb" if odd else "libx264", rate=25, options={"crf": "5"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt, stream.codec_context.time_base = "rgb24" if odd else "yuv420p", base
        if matrix:
            stream.set_display_matrix(matrix)
        tone = container.add_stream(sound, rate=48000, layout="mono") if sound else None
        for i, image in enumerate(images):
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = times[i] if times else i, base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if tone:
            wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(48000 * len(images) // 25) / 48000)
            samples = av.AudioFrame.from_ndarray((32767 * wave).astype(np.int16)[None], "s16", "mono")
            samples.sample_rate, samples.pts = 48000, 0
            container.mux(tone.encode(samples))
            container.mux(tone.encode())
    return path


def read(path: Path) -> tuple[list[np.ndarray], list[float]]:
    """The frames as they are stored, and their times in seconds."""
    with av.open(path) as container:
        frames = list(container.decode(video=0))
        return [frame.to_ndarray(format="rgb24") for frame in frames], [frame.time for frame in frames]


def packets(path: Path) -> bytes:
    """The encoded sound."""
    with av.open(path) as container:
        return b"".join(bytes(packet) for packet in container.demux(audio=0) if packet.dts is not None)


def tone(path: Path) -> tuple[str, float, float]:
    """The codec of the sound, its length in seconds, and its loudest frequency in Hz."""
    with av.open(path) as container:
        codec = container.streams.audio[0].codec_context.codec.canonical_name
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    spectrum = np.abs(np.fft.rfft(samples))
    return codec, len(samples) / 48000, float(spectrum.argmax() * 48000 / len(samples))


def assert_alike(images: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """Equal but for what the codec loses: a little sharpness, and half the resolution of color."""
    assert len(images) == len(expected)
    for one, two in zip(images, expected, strict=True):
        assert one.shape == two.shape
        assert np.abs(one.astype(int) - two).mean() < 6


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("video") / "flight.mp4", drift())


@pytest.mark.parametrize("suffix", video.SUFFIXES)
def test_frames_times_and_sound_are_kept(source, tmp_path, suffix):
    model = checkpoint(Negative())
    result = video.translate_video(model, source, tmp_path / f"new/out{suffix}")
    images, times = read(source)
    made, new_times = read(result.path)
    expected = p2plib.translate(model, images)
    assert (result.frames, result.size, result.rate) == (FRAMES, (SIZE, SIZE), 25)
    assert result.flicker == result.flicker_unsteadied == video.flicker(images, expected)  # before they are encoded
    assert_alike(made, expected)
    np.testing.assert_allclose(np.subtract(new_times, new_times[0]), times, atol=0.001)  # Matroska counts in ms
    assert packets(result.path) == packets(source)
    assert list((tmp_path / "new").iterdir()) == [result.path]


def test_colors_survive(tmp_path):
    colors = [(200, 30, 40), (20, 180, 60), (30, 60, 220), (255, 255, 255), (0, 0, 0), (128, 128, 128)]
    flat = [np.full((SIZE, SIZE, 3), rgb, np.uint8) for rgb in colors]
    model = checkpoint(Negative())
    made, _ = read(video.translate_video(model, write(tmp_path / "a.mp4", flat), tmp_path / "b.mp4").path)
    for image, rgb in zip(made, colors, strict=True):
        assert np.abs(image.mean((0, 1)) - (255 - np.array(rgb))).max() < 5


def test_a_real_generator_with_noise(tiny_run, tmp_path):
    model, source = p2plib.load(tiny_run), write(tmp_path / "flight.mp4", drift(4))
    result = video.translate_video(model, source, tmp_path / "out.mp4", noise=3)
    expected = p2plib.translate(model, read(source)[0], noise=3)
    assert_alike(read(result.path)[0], expected)
    assert result.flicker == pytest.approx(video.flicker(read(source)[0], expected))


def test_frames_keep_their_own_times(tmp_path):
    times = [0, 40, 90, 100, 300, 340, 500, 1100, 1101, 1300]
    slow = write(tmp_path / "slow.mkv", drift(10), times)
    result = video.translate_video(checkpoint(Negative()), slow, tmp_path / "out.mp4")
    np.testing.assert_allclose(read(result.path)[1], np.array(times) / 1000, atol=1e-4)
    assert result.rate == pytest.approx(9 / 1.3)


@pytest.mark.parametrize(
    ("sound", "suffix", "expected"),
    [("libopus", ".mov", "aac"), ("libopus", ".mkv", "opus"), ("pcm_s16le", ".mov", "pcm_s16le")],
)
def test_sound_is_copied_or_else_encoded_anew(tmp_path, sound, suffix, expected):
    loud = write(tmp_path / "loud.mkv", drift(), sound=sound)
    result = video.translate_video(checkpoint(Negative()), loud, tmp_path / f"out{suffix}")
    codec, seconds, frequency = tone(result.path)
    assert codec == expected
    assert seconds == pytest.approx(FRAMES / 25, abs=0.05)
    assert frequency == pytest.approx(440, abs=3)
    assert (packets(result.path) == packets(loud)) == (expected != "aac")


def test_a_silent_video_stays_silent(tmp_path):
    silent = write(tmp_path / "silent.mp4", drift(), sound=None)
    result = video.translate_video(checkpoint(Negative()), silent, tmp_path / "out.mp4")
    with av.open(result.path) as container:
        assert not container.streams.audio
    assert result.frames == len(read(result.path)[0]) == FRAMES


@pytest.mark.skipif(not hasattr(av.VideoStream, "set_display_matrix"), reason="this PyAV cannot mark a video as turned")
def test_a_turned_video_becomes_upright(tmp_path):
    lying = write(tmp_path / "phone.mp4", drift(5, SIZE, 24), matrix=CLOCKWISE)
    result = video.translate_video(checkpoint(Negative()), lying, tmp_path / "out.mp4")
    assert result.size == (24, SIZE)
    with av.open(result.path) as container:
        assert next(container.decode(video=0)).rotation == 0
    assert_alike(read(result.path)[0], [255 - image[::-1].transpose(1, 0, 2) for image in read(lying)[0]])


@pytest.mark.parametrize(("height", "width"), [(31, 32), (32, 29), (31, 29)])
def test_odd_sizes_grow_by_their_last_row_or_column(tmp_path, height, width):
    odd = write(tmp_path / "odd.mkv", drift(4, height, width))
    model = checkpoint(Negative())
    result = video.translate_video(model, odd, tmp_path / "out.mp4")
    assert result.size == (height + height % 2, width + width % 2)
    expected = p2plib.translate(model, read(odd)[0])
    grown = [np.pad(image, [(0, height % 2), (0, width % 2), (0, 0)], mode="edge") for image in expected]
    assert_alike(read(result.path)[0], grown)


def test_steady_lowers_flicker(source, tmp_path):
    light = [drift(1)[0] // 2 + 2 * (i % 2) for i in range(FRAMES)]  # a lamp that no eye sees flicker
    still = write(tmp_path / "still.mp4", light)
    results = [
        video.translate_video(checkpoint(Nervous()), still, tmp_path / "out.mp4", steady=steady)
        for steady in (False, True)
    ]
    assert results[0].flicker == results[0].flicker_unsteadied == pytest.approx(results[1].flicker_unsteadied)
    assert results[1].flicker < 0.35 * results[0].flicker
    made, _ = read(results[1].path)
    assert np.abs(np.diff(np.stack(made).astype(int), axis=0)).mean() < 10


def test_steady_leaves_no_trail():
    """A square moves over a still ground: where the source changed, the output is the generator's own, exactly."""
    steady, rng = video.Steady(), np.random.default_rng(0)
    ground = rng.integers(60, 80, (SIZE, SIZE, 3), np.uint8)
    last = ground
    for i in range(6):
        source = ground.copy()
        source[10:18, 3 * i : 3 * i + 8] = 200
        generated = 255 - source
        shown = steady(source, generated)
        changed = np.abs(source.astype(int) - last).mean(-1) >= video.MOVED
        assert changed.any()
        np.testing.assert_array_equal(shown[changed], generated[changed])
        assert np.abs(shown.astype(int) - generated).max() <= 1  # elsewhere this generator is still
        last = source


def test_steady_follows_a_slow_fade():
    """What changes by one level a frame is shown 1 / REFRESH - 1 = 4 levels late, and not more."""
    steady = video.Steady()
    for i in range(60):
        image = np.full((8, 8, 3), 2 * i, np.uint8) // 2
        shown = steady(image, image)
        assert 0 <= int(image[0, 0, 0]) - int(shown[0, 0, 0]) <= 1 / video.REFRESH - 1
    assert image[0, 0, 0] - shown[0, 0, 0] == 4


def test_steady_blends_only_the_colors_of_a_colorizer():
    """A gray film whose colors jump: the colors come to rest, and every frame keeps its own lightness."""
    steady, film, rng = (
        video.Steady(colors=True),
        [color.gray(frame) for frame in drift()[:1] * 6],
        np.random.default_rng(0),
    )
    film = [np.clip(frame + 3 * (i % 2), 0, 255).astype(np.uint8) for i, frame in enumerate(film)]
    made = [color.recolor(frame, rng.uniform(-30, 30, (1, 1, 2))) for frame in film]
    shown = [steady(frame, image) for frame, image in zip(film, made, strict=True)]
    for frame, image in zip(film, shown, strict=True):
        assert np.abs(rgb2lab(image) - rgb2lab(frame))[..., 0].max() < 0.5
    changes = [np.abs(np.diff([rgb2lab(x)[..., 1:] for x in images], axis=0)).mean() for images in (made, shown)]
    assert changes[1] < 0.4 * changes[0]


class Painter:
    """Any image in one color, another one in every batch."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(0)

    def predict_on_batch(self, x: np.ndarray) -> np.ndarray:
        return np.zeros_like(x) + self.rng.uniform(-0.3, 0.3, 3).astype(np.float32)


@pytest.mark.parametrize("steady", [False, True])
def test_a_colorized_video_keeps_its_light(source, tmp_path, steady):
    info = CheckpointInfo(TrainConfig(image_size=SIZE, task="colorize"), ("gray", "color"), 0, 0, {})
    result = video.translate_video(Checkpoint(Painter(), info), source, tmp_path / "out.mp4", steady=steady)
    for frame, image in zip(read(source)[0], read(result.path)[0], strict=True):
        assert np.abs(rgb2lab(image) - rgb2lab(frame))[..., 0].mean() < 2  # H.264 was in between
        assert np.hypot(*rgb2lab(image)[..., 1:].reshape(-1, 2).T).mean() > 3


def test_steady_starts_anew_at_a_cut():
    steady, dark, bright = video.Steady(), np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 200, np.uint8)
    bright[:4] = 0  # half of the image is the same in both scenes
    steady(dark, dark)
    np.testing.assert_array_equal(steady(bright, 255 - dark), 255 - dark)


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_flicker_of_the_source_itself_is_one(seed, count):
    frames = np.random.default_rng(seed).integers(0, 256, (count, 4, 5, 3), np.uint8)
    assert video.flicker(frames, frames) == 1
    assert video.flicker(frames, 255 - frames) == 1
    assert video.flicker(frames, frames // 2 * 0 + 7) == 0


def test_flicker_against_its_definition():
    sources, generated = np.random.default_rng(0).integers(0, 256, (2, 7, 4, 5, 3), np.uint8)
    changes = [np.abs(np.diff(frames.astype(float), axis=0)).mean() for frames in (generated, sources)]
    assert video.flicker(sources, generated) == pytest.approx(changes[0] / changes[1])


def test_flicker_of_a_still_source():
    still, moving = (
        np.zeros((2, 4, 4, 3), np.uint8),
        np.stack([np.zeros((4, 4, 3)), np.ones((4, 4, 3))]).astype(np.uint8),
    )
    assert video.flicker(still, moving) == np.inf
    assert np.isnan(video.flicker(still, still))
    assert np.isnan(video.flicker(moving[:1], moving[:1]))


def damaged(source: Path, folder: Path) -> Path:
    data = bytearray(source.read_bytes())
    with av.open(source) as container:
        places = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    for start, size in places[10:]:
        data[start + 4 : start + size] = bytes(size - 4)
    (folder / "damaged.mp4").write_bytes(data)
    return folder / "damaged.mp4"


def test_a_damaged_video_is_named_and_nothing_is_written(source, tmp_path):
    with pytest.raises(DataError, match=r"damaged\.mp4: damaged after frame \d+"):
        video.translate_video(checkpoint(Negative()), damaged(source, tmp_path), tmp_path / "out" / "out.mp4")
    assert not list((tmp_path / "out").iterdir())


def test_a_failing_generator_leaves_the_old_file(source, tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"old")
    with pytest.raises(AttributeError):
        video.translate_video(checkpoint(None), source, tmp_path / "out.mp4")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize(
    ("name", "target", "error", "message"),
    [
        ("missing.mp4", "out.mp4", DataError, r"missing\.mp4: no such video"),
        ("noise.mp4", "out.mp4", DataError, r"noise\.mp4: cannot be read as a video"),
        ("tone.mkv", "out.mp4", DataError, r"tone\.mkv: this file has no video"),
        ("tone.mkv", "out.avi", ConfigError, r"out\.avi: .*\.mp4, \.mkv, \.mov"),
        ("tone.mkv", "tone.mkv", ConfigError, r"tone\.mkv: this is the video to translate"),
    ],
)
def test_what_cannot_work_is_refused_by_name(tmp_path, name, target, error, message):
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(1000))
    with av.open(tmp_path / "tone.mkv", "w") as container:
        stream = container.add_stream("aac", rate=48000, layout="mono")
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.int16), "s16", "mono")
        samples.sample_rate = 48000
        container.mux(stream.encode(samples))
        container.mux(stream.encode())
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=message):
        video.translate_video(checkpoint(Negative()), tmp_path / name, tmp_path / target)
    assert sorted(tmp_path.iterdir()) == before


def test_without_pyav_the_extra_is_named(monkeypatch, source, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ConfigError, match=r"pip install 'p2plib\[video\]'"):
        video.translate_video(checkpoint(Negative()), source, tmp_path / "out.mp4")

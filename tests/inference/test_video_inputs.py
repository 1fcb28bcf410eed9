"""Videos as people have them: strange sound, HDR, more tracks, recordings that broke off, and disks that are full."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

av = pytest.importorskip("av")
pytest.importorskip("keras")

from test_video import Negative, checkpoint, drift, packets, read, write  # noqa: E402

from p2plib.errors import DataError  # noqa: E402
from p2plib.inference import hdr, video  # noqa: E402

TIME = Fraction(1, 25)


def translated(source: Path, suffix: str = ".mp4") -> video.Video:
    return video.translate_video(checkpoint(Negative()), source, source.with_name(f"out{suffix}"))


def sing(container, track, rate: int, layout: str) -> None:
    """A tone of 440 Hz of half a second in every channel."""
    wave = 0.3 * np.sin(2 * np.pi * 440 * np.arange(rate // 2) / rate)
    channels = np.tile(wave.astype(np.float32), (track.layout.nb_channels, 1))
    for start in range(0, rate // 2, 1024):
        samples = av.AudioFrame.from_ndarray(np.ascontiguousarray(channels[:, start : start + 1024]), "fltp", layout)
        samples.sample_rate, samples.pts, samples.time_base = rate, start, Fraction(1, rate)
        container.mux(track.encode(samples))
    container.mux(track.encode(None))


def film(path: Path, *sounds: tuple[str, int, str], codec: str = "libx264", count: int = 6, tracks: int = 1) -> Path:
    with av.open(path, "w") as container:
        streams = [container.add_stream(codec, rate=25, options={"g": "12"}) for _ in range(tracks)]
        for stream in streams:
            stream.height = stream.width = 32
            stream.pix_fmt = "yuv420p"
        voices = [container.add_stream(sound, rate=rate, layout=layout) for sound, rate, layout in sounds]
        for stream in streams:
            for i, image in enumerate(drift(count)):
                frame = av.VideoFrame.from_ndarray(image, "rgb24")
                frame.pts, frame.time_base = i, TIME
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        for voice, (_, rate, layout) in zip(voices, sounds, strict=True):
            sing(container, voice, rate, layout)
    return path


@pytest.mark.parametrize(
    ("name", "sound", "expected"),
    [
        ("a.mkv", ("pcm_s16le", 192000, "stereo"), ("aac", 96000, 2)),
        ("a.mkv", ("pcm_s16le", 48000, "5.1"), ("aac", 48000, 6)),  # Matroska tells no layout of PCM
        ("a.mkv", ("pcm_s16le", 48000, "6.1"), ("aac", 48000, 7)),
        ("a.avi", ("pcm_u8", 22050, "mono"), ("aac", 22050, 1)),
        ("a.mov", ("pcm_s8", 6000, "mono"), ("aac", 7350, 1)),
        ("a.mov", ("pcm_alaw", 8000, "mono"), ("aac", 8000, 1)),
        ("a.mkv", ("flac", 96000, "stereo"), ("flac", 96000, 2)),
    ],
)
def test_sound_becomes_what_the_container_holds(tmp_path, name, sound, expected):
    result = translated(film(tmp_path / name, sound, codec="mpeg4" if name.endswith("avi") else "libx264"))
    with av.open(result.path) as container:
        [track] = container.streams.audio
        assert (track.codec_context.codec.canonical_name, track.rate, track.layout.nb_channels) == expected
        length = sum(frame.samples for frame in container.decode(track)) / track.rate
        assert length == pytest.approx(0.5, abs=0.2 if track.rate < 8000 else 0.07)
    assert [f"({sound[0]})" in note and "written as AAC" in note for note in result.notes] == (
        [True] if expected[0] == "aac" else []
    )


def test_sound_whose_rate_changes(tmp_path):
    """Two MPEG recordings one behind the other, as broadcasts do."""
    parts = [film(tmp_path / f"{rate}.ts", ("mp2", rate, "stereo"), codec="mpeg2video") for rate in (48000, 32000)]
    with av.open(tmp_path / "a.ts", "w") as out, av.open(parts[0]) as first, av.open(parts[1]) as second:
        same = [out.add_stream_from_template(stream) for stream in (first.streams.video[0], first.streams.audio[0])]
        for i, reader in enumerate((first, second)):
            for packet in reader.demux():
                if packet.dts is None:
                    continue
                shift = round(i * 0.5 / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                packet.stream = same[packet.stream.index]
                out.mux(packet)
    with av.open(translated(tmp_path / "a.ts").path) as container:
        rate = container.streams.audio[0].rate
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert len(samples) / rate == pytest.approx(1, abs=0.1)
    for half in np.split(samples[: len(samples) // 2 * 2], 2):
        assert np.abs(np.fft.rfft(half)).argmax() * rate / len(half) == pytest.approx(440, abs=5)


def test_an_unknown_sound_track_is_named_and_left_out(tmp_path):
    source = film(tmp_path / "a.mp4", ("aac", 48000, "stereo"), ("aac", 48000, "stereo"))
    data = source.read_bytes()
    at = data.rindex(b"mp4a")
    esds = data.index(b"esds", at)
    source.write_bytes(data[:at] + b"apac" + data[at + 4 : esds] + b"dapa" + data[esds + 4 :])
    result = translated(source)
    assert result.notes == ("sound track 2 (unknown) is left out: this PyAV does not know its kind",)
    assert packets(result.path) == packets(source)


def test_other_tracks_are_named(tmp_path):
    result = translated(film(tmp_path / "a.mkv", tracks=2))
    assert result.notes == ("left out: video track 1 (h264)",) and result.frames == 6


# HDR.


def pq(nits: float) -> float:
    """SMPTE ST 2084, from light to signal."""
    light = (nits / 10000) ** (1305 / 8192)
    return ((107 / 128 + 2413 / 128 * light) / (1 + 2392 / 128 * light)) ** (2523 / 32)


def hlg(light: float) -> float:
    """ARIB STD-B67, from light of the scene to signal."""
    return (3 * light) ** 0.5 if light <= 1 / 12 else 0.17883277 * np.log(12 * light - 0.28466892) + 0.55991073


@pytest.mark.parametrize("kind", ["PQ", "HLG"])
def test_white_is_white_and_gray_stays_gray(kind):
    nits = np.array([0, 1, 5, 20, 50, 100, 150, 203, 400, 800, 1000])
    signal = [pq(n) if kind == "PQ" else hlg((n / 1000) ** (1 / 1.2)) for n in nits]
    made = hdr.tone_map(np.rint(65535 * np.repeat(signal, 3).reshape(-1, 3)).astype(np.uint16), kind).astype(int)
    assert np.ptp(made, axis=-1).max() <= 1  # gray
    assert (np.diff(made[:, 0]) >= 0).all() and made[0].max() == 0 and made[-1].min() == 255
    assert made[7].min() > 240
    np.testing.assert_allclose(made[:7, 0], 255 * (nits[:7] / 203) ** (1 / 2.4), atol=2)  # below the knee: as it is


def test_wide_colors_become_those_of_bt709():
    red = hdr.TO_BT709 @ np.linalg.inv(hdr.TO_BT709) @ [0.5, 0.1, 0.1]
    wide = np.linalg.inv(hdr.TO_BT709) @ red
    made = hdr.tone_map(np.rint(65535 * wide ** (1 / 2.4)).astype(np.uint16), "BT.2020")
    np.testing.assert_allclose(made, 255 * np.array([0.5, 0.1, 0.1]) ** (1 / 2.4), atol=1)


@pytest.mark.parametrize(("transfer", "kind", "white"), [(16, "PQ", pq(203)), (18, "HLG", 0.75), (14, "BT.2020", 1.0)])
def test_an_hdr_file(tmp_path, transfer, kind, white):
    """White and a saturated green, in 10 bits, with the matrix of BT.2020."""
    rgb = np.array([[white, white, white], [0.1, 0.5, 0.2]])
    luma = rgb @ [0.2627, 0.678, 0.0593]
    planes = luma, (rgb[:, 2] - luma) / 1.8814, (rgb[:, 0] - luma) / 1.4746
    with av.open(tmp_path / "a.mkv", "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height = stream.width = 32
        stream.pix_fmt, context = "yuv444p10le", stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 9, transfer, 9, 1
        y, u, v = (np.repeat(np.repeat(plane, 16)[None], 32, 0) for plane in planes)
        values = np.stack([64 + 876 * y, 512 + 896 * u, 512 + 896 * v])
        frame = av.VideoFrame(32, 32, "yuv444p10le")
        for plane, of_plane in zip(frame.planes, np.rint(values).astype("<u2"), strict=True):
            row = np.zeros((32, plane.line_size // 2), "<u2")
            row[:, :32] = of_plane
            plane.update(row.tobytes())
        frame.pts, frame.time_base = 0, TIME
        frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = 9, transfer, 9, 1
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    result = translated(tmp_path / "a.mkv", ".mkv")
    assert result.notes == (f"its colors ({kind}) are converted to those of an ordinary screen (BT.709)",)
    image = 255 - read(result.path)[0][0].astype(int)
    assert image[4:-4, 4:12].min() > 238
    expected = hdr.tone_map(np.rint(65535 * rgb[1:]).astype(np.uint16), kind)[0]
    assert np.abs(image[4:-4, 20:28].mean((0, 1)) - expected).max() < 6


# Recordings that broke off.


@pytest.mark.parametrize(("suffix", "part"), [(".mkv", 0.6), (".ts", 0.6), (".avi", 0.8)])
def test_a_recording_that_broke_off_is_kept_so_far(tmp_path, suffix, part):
    whole = film(tmp_path / f"a{suffix}", codec="mpeg4" if suffix == ".avi" else "libx264", count=50)
    broken = tmp_path / f"broken{suffix}"
    broken.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * part)])
    result = translated(broken)
    assert 5 < result.frames == len(read(result.path)[0]) < 45
    assert suffix == ".ts" or "broke off" in result.notes[-1]  # a transport stream tells no length
    assert translated(whole).notes == ()


def test_an_mp4_that_broke_off_behind_its_index(tmp_path):
    source, options = film(tmp_path / "whole.mp4", count=50), {"movflags": "faststart"}
    with av.open(source) as reader, av.open(tmp_path / "a.mp4", "w", options=options) as writer:
        same = writer.add_stream_from_template(reader.streams[0])
        for packet in reader.demux():
            if packet.dts is not None:
                packet.stream = same
                writer.mux(packet)
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[: len(data) * 6 // 10])
    result = translated(tmp_path / "a.mp4")
    assert 10 < result.frames < 45 and "of 2.0 seconds are here" in result.notes[-1]


def test_a_recording_that_starts_in_the_middle(tmp_path):
    whole = film(tmp_path / "a.ts", codec="mpeg2video", count=50).read_bytes()
    (tmp_path / "a.ts").write_bytes(whole[188 * (len(whole) // 188 // 5) :])
    result = translated(tmp_path / "a.ts")
    assert 20 < result.frames < 45 and "starts in the middle" in result.notes[-1]


@pytest.mark.parametrize(
    "content", [b"", b"this is no video\n" * 50, "without index"], ids=["empty", "text", "no moov"]
)
def test_what_is_no_video_leaves_the_old_file(tmp_path, content):
    if content == "without index":
        whole = film(tmp_path / "whole.mp4").read_bytes()
        content = whole[: whole.index(b"moov") - 4]
    (tmp_path / "a.mp4").write_bytes(content)
    (tmp_path / "out.mp4").write_bytes(b"old")
    with pytest.raises(DataError, match=r"a\.mp4: cannot be read as a video") as caught:
        translated(tmp_path / "a.mp4")
    assert "\n" not in str(caught.value) and (tmp_path / "out.mp4").read_bytes() == b"old"


@pytest.mark.parametrize(("height", "width", "count"), [(2, 2, 3), (5, 3, 3), (1, 1, 2), (32, 32, 1)])
def test_tiny_videos(tmp_path, height, width, count):
    with av.open(tmp_path / "a.mkv", "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width, stream.pix_fmt = height, width, "bgr0"
        for i in range(count):
            frame = av.VideoFrame.from_ndarray(np.full((height, width, 3), 60 * i, np.uint8), "rgb24")
            frame.pts, frame.time_base = i, TIME
            container.mux(stream.encode(frame.reformat(format="bgr0")))
        container.mux(stream.encode(None))
    result = translated(tmp_path / "a.mkv")
    assert (result.frames, result.size) == (count, (height + height % 2, width + width % 2))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("room", [10, 2000])
def test_a_full_disk_is_one_sentence_and_leaves_the_old_file(tmp_path, room):
    source = write(tmp_path / "a.mp4", drift())
    (tmp_path / "out.mp4").write_bytes(b"old")
    code = f"""
import resource, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import test_video_inputs as here
resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}))
try:
    here.translated(here.Path({str(source)!r}))
except here.DataError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True, check=True)
    assert "out.mp4: cannot be written (File too large)" in done.stdout and done.stdout.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"old"


@pytest.mark.parametrize("interlaced", [True, False])
def test_interlaced_video_is_said_once(tmp_path, interlaced):
    options = {"flags": "+ildct+ilme"} if interlaced else {}
    with av.open(tmp_path / "tape.mpg", "w") as container:
        stream = container.add_stream("mpeg2video", rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for image in drift(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        container.mux(stream.encode(None))
    assert sum("it is interlaced" in note for note in translated(tmp_path / "tape.mpg").notes) == interlaced


@pytest.mark.parametrize("pixels", ["rgba", "rgb24"])
def test_transparency_that_is_left_out_is_said(tmp_path, pixels):
    with av.open(tmp_path / "title.mov", "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 32, pixels
        for image in drift(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pixels)))
        container.mux(stream.encode(None))
    notes = translated(tmp_path / "title.mov").notes
    assert sum("its transparency is left out" in note for note in notes) == (pixels == "rgba")

"""Translates videos frame by frame, keeps the sound, and measures flicker.

PyAV (FFmpeg's libraries) decodes and encodes; it is imported when a video is translated.

Frames keep their presentation times, even at a variable rate, so the sound stays in sync. Audio tracks are copied if
the container supports them, and otherwise re-encoded as AAC. Subtitles and titles are dropped. HDR becomes ordinary
video. What was left out or changed is in `Video.notes`. A rotated phone video is written upright (a mirrored one stays
mirrored). H.264 with 4:2:0 color needs an even size: an odd height or width is padded by repeating the last row or
column. Memory holds a few frames, not the video.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageFilter
from tqdm import tqdm

from p2plib.data import color
from p2plib.data.image import resize_image
from p2plib.errors import ConfigError, DataError
from p2plib.files import replacing
from p2plib.inference.frames import Frames, first_size, left_out, rate_of, reading
from p2plib.inference.sound import sound_tracks
from p2plib.inference.translate import needs_ordinary, translate

if TYPE_CHECKING:
    from p2plib.inference.checkpoint import Checkpoint

SUFFIXES = (".mp4", ".mkv", ".mov")
"""Suffixes of output videos; each selects a container."""
BATCH = 8  # frames in memory, and per call of the network
BT709 = 1  # FFmpeg's number for the colors of HD video

STILL, MOVED = 2.0, 12.0
"""Source change, in levels of 255: up to `STILL`, a pixel counts as still; from `MOVED` on, as new."""
REFRESH = 0.2
"""Weight of the new output at still pixels: after 10 still frames, 11 % of an old output remains."""
CUT = 40.0
"""Mean source change, in levels of 255, that counts as a new scene."""


@dataclass(frozen=True)
class Video:
    """A translated video."""

    path: Path
    frames: int
    size: tuple[int, int]
    """Height and width in pixels, upright; both even."""
    rate: float
    """Average frames per second."""
    flicker: float
    """See `flicker`; measured before encoding."""
    flicker_unsteadied: float
    """The same for the raw output of the generator; differs only with `steady`."""
    notes: tuple[str, ...] = ()
    """What of the source was left out or changed, a line each."""


def translate_video(
    checkpoint: Checkpoint,
    source: str | Path,
    target: str | Path,
    noise: int | None = None,
    steady: bool = False,
    fit: bool = False,
    progress: bool = False,
) -> Video:
    """Translate a video frame by frame, each as `p2plib.translate` does.

    Args:
        checkpoint: from `p2plib.load`.
        source: a video file that FFmpeg can read.
        target: the file to write, `.mp4`, `.mkv` or `.mov`; an existing file is replaced.
        noise: see `p2plib.translate`; every frame gets the same noise, so the noise does not flicker.
        steady: blend over time to reduce flicker; see `Steady`. With a colorizer, only colors are blended.
        fit: see `p2plib.translate`.
        progress: show a progress bar on stderr.

    Raises:
        ConfigError: PyAV is not installed, `target` has another suffix, or the model's images are not 8-bit RGB.
        DataError: `source` is missing, holds no video, or is damaged, or `target` cannot be written, for example since
            the disk is full; then nothing is written, and an earlier `target` stays.
    """
    _check_pyav()
    needs_ordinary(checkpoint, "Video")
    source, target = Path(source), Path(target)
    _check_names(source, target)
    size = first_size(source)
    with reading(source) as (reader, track), _writing(target) as writer:
        encode = _encoder(writer, track, size)
        notes = left_out(reader, track)
        frames = Frames(reader, track, source, sound_tracks(source, reader, writer, notes.append), notes.append)
        bar = tqdm(frames, total=track.frames or None, unit="frame", disable=not progress)
        before, after, stabilize = Flicker(), Flicker(), Steady(checkpoint.task.keeps_lightness)
        times: list[int] = []
        for batch in _batches(bar):
            images = [resize_image(image, *size) for image, _ in batch]  # some streams change size midway
            generated = translate(checkpoint, images, noise, BATCH, fit)
            for (_, time), image, made in zip(batch, images, generated, strict=True):
                shown = stabilize(image, made) if steady else made
                before.add(image, made)
                after.add(image, shown)
                encode(shown, time)
                times.append(time)
        encode(None, 0)
        rate = (len(times) - 1) / ((times[-1] - times[0]) * track.time_base) if len(times) > 1 else rate_of(track)
    return Video(target, len(times), _even(size), float(rate), after.value, before.value, tuple(notes))


def flicker(sources: Iterable[np.ndarray], generated: Iterable[np.ndarray]) -> float:
    """Ratio of the frame-to-frame change of a generated video to that of its source.

    The change is the mean absolute difference between neighboring frames. A ratio of 1 means that the result changes
    as much as its source. If the source is static, the ratio is infinite if the result changes, and NaN otherwise. It
    is also NaN for a single frame.

    Args:
        sources: uint8 frames (H, W, 3).
        generated: as many uint8 frames, all the same size.
    """
    meter = Flicker()
    for source, new in zip(sources, generated, strict=True):
        meter.add(source, new)
    return meter.value


class Flicker:
    """Computes `flicker` frame by frame."""

    def __init__(self) -> None:
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        self._changes = np.zeros(2)

    def add(self, source: np.ndarray, generated: np.ndarray) -> None:
        """Add the next frame of both videos."""
        if self._last is not None:
            both = zip(self._last, (source, generated), strict=True)
            self._changes += [np.abs(old.astype(np.int16) - new).mean() for old, new in both]
        self._last = source, generated

    @property
    def value(self) -> float:
        """The flicker of the frames so far."""
        of_source, of_generated = self._changes
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(of_generated / of_source)


class Steady:
    """A temporal blend that keeps the previous output where the source did not change.

    For frame t, out_t = w gen_t + (1 - w) out_{t-1}, with a weight w for every pixel. w depends on how much the source
    changed there since frame t-1: the mean over the channels, in levels of 255, at the pixel or after a Gaussian blur
    with sigma 2, whichever is larger. w is `REFRESH` up to `STILL`, 1 from `MOVED` on, and linear between. If the mean
    change exceeds `CUT`, a new scene starts: w = 1 everywhere.

    A moving object leaves no trail where it changes the source by `MOVED` levels or more: those pixels come from the
    generator alone. Smaller changes and slow fades lag by about 1 / `REFRESH` = 5 frames. So does the generator's
    response at a still pixel to motion elsewhere in its receptive field.

    Args:
        colors: blend only the colors, a and b of CIE Lab, and keep the lightness of each source frame.
    """

    def __init__(self, colors: bool = False) -> None:
        self._colors = colors
        self._source: np.ndarray | None = None
        self._output = np.zeros(0, np.float32)  # float: rounding every frame would freeze old outputs

    def __call__(self, source: np.ndarray, generated: np.ndarray) -> np.ndarray:
        """Blend the next generated frame, given with its source frame, both uint8 (H, W, 3)."""
        new: np.ndarray = generated.astype(np.float32)
        if self._colors:
            new = color.rgb_to_lab(new / 255)[..., 1:]
        if self._source is not None:
            weight = self.weight(self._source, source)[..., None]
            new = weight * new + (1 - weight) * self._output
        self._source, self._output = source, new
        return color.recolor(source, new) if self._colors else np.rint(new).astype(np.uint8)

    @staticmethod
    def weight(last: np.ndarray, source: np.ndarray) -> np.ndarray:
        """The weight w of the new output at every pixel, float32 (H, W), from two neighboring source frames."""
        change = np.abs(source.astype(np.float32) - last).mean(-1)
        if change.mean() > CUT:
            return np.ones_like(change)
        around = Image.fromarray(np.rint(change).astype(np.uint8)).filter(ImageFilter.GaussianBlur(2))
        moved = (np.maximum(change, np.asarray(around)) - STILL) / (MOVED - STILL)
        return np.clip(REFRESH + (1 - REFRESH) * moved, REFRESH, 1).astype(np.float32)


def _check_pyav() -> None:
    try:
        import av
    except ImportError as error:
        raise ConfigError("Videos need PyAV; run: pip install 'p2plib[video]'") from error
    if "libx264" not in av.codecs_available:
        raise ConfigError("This PyAV cannot write H.264 (it has no libx264); run: pip install --force-reinstall av")


def _check_names(source: Path, target: Path) -> None:
    if target.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"{target}: a video must be written as {', '.join(SUFFIXES)}; choose one of these suffixes.")
    if not source.is_file():
        raise DataError(f"{source}: no such video file.")
    if source.resolve() == target.resolve():
        raise ConfigError(f"{target}: this is the video to translate; write the result to another file.")


@contextmanager
def _writing(target: Path) -> Iterator[Any]:
    """A container to write to, which replaces `target` when the block succeeds; an obstacle is said in a sentence."""
    import av

    try:
        with replacing(target) as temporary, av.open(temporary, "w") as writer:
            yield writer
    except (OSError, av.FFmpegError) as error:
        raise DataError(
            f"{target}: cannot be written ({error.strerror or error}); make room or choose another folder, and run the "
            "same again. Nothing was changed there."
        ) from error


def _even(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def _batches(frames: Iterable[Any]) -> Iterator[list[Any]]:
    batch = []
    for frame in frames:
        batch.append(frame)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _encoder(writer: Any, track: Any, size: tuple[int, int]) -> Callable[[np.ndarray | None, int], None]:
    """Return a function that writes an image at a time in ticks of `track`; None flushes the encoder."""
    import av

    stream = writer.add_stream("libx264", rate=rate_of(track), options={"crf": "18"})
    stream.height, stream.width = even = _even(size)
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.time_base = track.time_base
    context.colorspace = context.color_primaries = context.color_trc = context.color_range = BT709  # limited range
    if aspect := track.sample_aspect_ratio:
        context.sample_aspect_ratio = aspect if size == (track.height, track.width) else 1 / aspect

    def encode(image: np.ndarray | None, time: int) -> None:
        if image is None:
            writer.mux(stream.encode())
            return
        padded = np.pad(image, [(0, even[0] - size[0]), (0, even[1] - size[1]), (0, 0)], mode="edge")
        frame = av.VideoFrame.from_ndarray(padded, "rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
        frame.pts, frame.time_base = time, track.time_base
        writer.mux(stream.encode(frame))

    return encode

"""Reads the frames of a video file, upright and in ordinary colors, and says what of the file is not used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from p2plib.errors import DataError
from p2plib.inference import hdr
from p2plib.inference.sound import codec_of

MISSING = 0.1
"""Seconds that a file may be shorter than it announces before it counts as broken off."""


@contextmanager
def reading(source: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file; yields it with its first video track, ignoring cover art."""
    import av

    try:
        container = av.open(source)
    except (av.FFmpegError, OSError, ValueError) as error:
        why = "it is empty" if not source.stat().st_size else getattr(error, "strerror", None) or error
        raise DataError(
            f"{source}: cannot be read as a video ({why}); use another copy, since this one may have broken off."
        ) from error
    with container:
        tracks = [track for track in container.streams.video if not _is_cover(track)]
        if not tracks:
            raise DataError(f"{source}: this file has no video track.")
        known = [track for track in tracks if track.codec_context]
        if not known:
            raise DataError(f"{source}: its video is of a kind that this PyAV does not know; convert it to H.264.")
        yield container, known[0]


def _is_cover(track: Any) -> bool:
    from av.stream import Disposition

    return bool(track.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def left_out(container: Any, used: Any) -> list[str]:
    """A line that names the tracks besides sound and the video track that is used; none if there are none."""
    others = [track for track in container.streams if track is not used and track.type != "audio"]
    kinds = [
        "cover image" if track.type == "video" and _is_cover(track) else f"{track.type} track {track.index}"
        for track in others
    ]
    named = [
        f"{kind} ({codec_of(track)})" if track.type in ("video", "subtitle") else kind
        for kind, track in zip(kinds, others, strict=True)
    ]
    return [f"left out: {', '.join(named)}"] if named else []


def first_size(source: Path) -> tuple[int, int]:
    """Height and width of the first frame, upright; needed before any audio packet is written."""
    with reading(source) as (container, track):
        for image, _ in Frames(container, track, source):
            return image.shape[0], image.shape[1]
    raise DataError(f"{source}: this video has no frames; use another copy, since this one may have broken off.")


def rate_of(track: Any) -> Fraction:
    """Frames per second, as the file tells it."""
    return track.average_rate or track.guessed_rate or Fraction(25)


class Frames:
    """Iterates over upright frames with their presentation times in ticks of the track.

    What comes before the first whole frame of a recording that starts in the middle is skipped, and a last frame that
    was cut off is left out. Damage elsewhere is an error.

    Args:
        container: an open PyAV container.
        track: its video track.
        source: the file, for messages.
        sound: by a track's index, the function that takes its packets, and None at the end.
        say: is told what is left out or changed.
    """

    def __init__(
        self,
        container: Any,
        track: Any,
        source: Path,
        sound: Mapping[int, Callable[[Any | None], None]] | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.container, self.track, self.source, self.sound, self.say = container, track, source, sound or {}, say
        self.count = self.skipped = 0
        self.end = 0.0  # seconds
        self.cut = self.keyed = self.interlaced = False

    def __iter__(self) -> Iterator[tuple[np.ndarray, int]]:
        """Yield uint8 (H, W, 3) and the time; sound goes its own way meanwhile."""
        last, tick = 0, max(1, round(1 / (rate_of(self.track) * self.track.time_base)))
        kind = None
        for packet in self._packets():
            for frame in self._decoded(packet):
                time = frame.pts if frame.pts is not None else last + tick  # few files lack times
                last = max(time, last + 1) if self.count else time  # the encoder needs increasing times
                if self.count == 0 and (kind := hdr.kind_of(frame)):
                    self.say(f"its colors ({kind}) are converted to those of an ordinary screen (BT.709)")
                if self.count == 0 and any(part.is_alpha for part in frame.format.components):
                    self.say("its transparency is left out")
                if frame.interlaced_frame and not self.interlaced:
                    self.interlaced = True
                    self.say("it is interlaced, and its frames are used with both fields in them; deinterlace it first")
                yield upright(frame), last
                self.count += 1
        for end in self.sound.values():
            end(None)
        self._say_what_is_missing()

    def _packets(self) -> Iterator[Any]:
        """The packets of the video track, while those of the sound are handed on."""
        import av

        streams = [self.track, *(track for track in self.container.streams.audio if track.index in self.sound)]
        packets = self.container.demux(*streams)
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError):  # the file ends in the middle of something
                self.cut = True
                return
            if packet is None:
                return
            if packet.pts is not None:
                self.end = max(self.end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index == self.track.index:
                yield packet
            elif not (packet.is_corrupt and packet.size):
                self.sound[packet.stream_index](packet)

    def _decoded(self, packet: Any) -> list[Any]:
        """The frames that a packet completes."""
        import av

        if self.cut and packet.size:  # the one before was not the last, so the file did not merely break off
            raise self._damaged()
        self.keyed |= packet.is_keyframe
        if not self.keyed and packet.size:
            self.skipped += 1
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            if not self.count:
                self.skipped += self.keyed
                return []
            if not packet.is_corrupt:
                raise self._damaged() from error
            self.cut, frames = True, []
        good = [frame for frame in frames if not frame.is_corrupt]
        if len(good) < len(frames):
            if not self.count and not good:
                self.skipped += len(frames)
            elif self.count and not packet.is_corrupt and not self.cut and packet.size:
                raise self._damaged()
            else:
                self.cut |= self.count > 0
        return good

    def _damaged(self) -> DataError:
        return DataError(f"{self.source}: damaged after frame {self.count}; repair it, or cut it there.")

    def _say_what_is_missing(self) -> None:
        if self.skipped and self.count:
            self.say(f"it starts in the middle: {self.skipped} frames before the first whole one are left out")
        tracks = [self.track, *(track for track in self.container.streams.audio if track.index in self.sound)]
        announced = [float(track.duration * track.time_base) for track in tracks if track.duration]
        if not announced and self.container.duration:
            announced = [self.container.duration / 1e6]
        length = self.end - (self.container.start_time or 0) / 1e6
        if self.count and announced and length < max(announced) - MISSING:
            self.say(f"it broke off: {length:.1f} of {max(announced):.1f} seconds are here")
        elif self.cut:
            self.say(f"it broke off after frame {self.count}")


def upright(frame: Any) -> np.ndarray:
    """A decoded frame as RGB, rotated by its display matrix; uint8 (H, W, 3). HDR becomes ordinary video."""
    image = hdr.to_sdr(frame) if hdr.kind_of(frame) else frame.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, frame.rotation // 90))

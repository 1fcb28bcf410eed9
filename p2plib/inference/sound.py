"""The sound of a video: every track is copied where the new file can hold it, and else written as AAC, or left out.

What a container holds is found by trying it with a track's first packets, in memory.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROBE = 8  # packets
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""The usual layout of so many channels, for encoders that do not take the track's own."""


def sound_tracks(
    source: Path, reader: Any, writer: Any, say: Callable[[str], None]
) -> dict[int, Callable[[Any | None], None]]:
    """Add the sound tracks of `reader` to `writer`.

    Args:
        source: the file that `reader` reads.
        reader: an open PyAV container.
        writer: another, of which nothing has been written.
        say: is told what is left out or changed.

    Returns:
        By a track's index, the function that takes its packets; None ends the track.
    """
    made = {}
    for number, track in enumerate(reader.streams.audio, 1):
        name = f"sound track {number} ({codec_of(track)})"
        if track.codec_context is None:
            say(f"{name} is left out: this PyAV does not know its kind")
        elif _holds(source, track.index, writer.format.name):
            made[track.index] = _copy(track, writer, name, say)
        elif (frame := _first(source, track.index)) is None:
            say(f"{name} is left out: nothing of it can be decoded")
        else:
            made[track.index] = _Convert(frame, writer, name, say)
    return made


def codec_of(track: Any) -> str:
    """The name of a track's codec."""
    return track.codec_context.codec.canonical_name if track.codec_context else "unknown"


def _holds(source: Path, index: int, container: str) -> bool:
    """Whether a container takes a track's first packets, and gives the same kind of track back."""
    import av

    memory = io.BytesIO()
    try:
        with av.open(source) as reader:
            track: Any = reader.streams[index]
            with av.open(memory, "w", format=container) as writer:
                same = writer.add_stream_from_template(track)
                for packet, _ in zip(reader.demux(track), range(PROBE), strict=False):
                    if packet.dts is not None:
                        packet.stream = same
                        writer.mux(packet)
            memory.seek(0)
            with av.open(memory) as again:
                new: Any = again.streams.audio[0]
                return (codec_of(new), new.rate) == (codec_of(track), track.rate)
    except (av.FFmpegError, ValueError, AttributeError, IndexError):  # AttributeError: a track of no known codec
        return False


def _first(source: Path, index: int) -> Any:
    """The first frame of a track; None if there is none."""
    import av

    try:
        with av.open(source) as reader:
            for packet in reader.demux(reader.streams[index]):
                if frames := _decoded(packet):
                    return frames[0]
    except av.FFmpegError:
        pass
    return None


def _decoded(packet: Any) -> list[Any]:
    """The frames of a packet; none if it is damaged."""
    import av

    try:
        return packet.decode()
    except av.FFmpegError:
        return []


def _copy(track: Any, writer: Any, name: str, say: Callable[[str], None]) -> Callable[[Any | None], None]:
    import av

    same, last, refused = writer.add_stream_from_template(track), None, 0

    def copy(packet: Any | None) -> None:
        nonlocal last, refused
        if packet is None:
            if refused:
                say(f"{refused} packets of {name} are left out: they are damaged")
            return
        if packet.dts is None:  # the demuxer's last packets only mark the end
            return
        if last is not None and packet.dts < last:
            refused += 1
            return
        last, packet.stream = packet.dts, same
        try:
            writer.mux(packet)
        except (av.error.ArgumentError, av.error.InvalidDataError):
            refused += 1

    return copy


class _Convert:
    """Writes the packets of a track as AAC, at a rate and in a layout that the encoder takes."""

    def __init__(self, first: Any, writer: Any, name: str, say: Callable[[str], None]) -> None:
        import av

        first = _laid_out(first)
        rates = av.Codec("aac", "w").audio_rates or [first.sample_rate]
        rate = min((one for one in rates if one >= first.sample_rate), default=max(rates))
        self.writer, self.layout, self.damaged, self.name, self.say = writer, _layout(first, rate), 0, name, say
        self.stream = writer.add_stream("aac", rate=rate, layout=self.layout)
        self.resampler: Any = None
        self.shape: Any = None
        say(f"{name}, {first.sample_rate} Hz, {first.layout.name}, is written as AAC, {rate} Hz, {self.layout}")

    def __call__(self, packet: Any | None) -> None:
        """Take the next packet; None ends the track."""
        import av

        if packet is None:
            self._encode(self.resampler.resample(None) if self.resampler else [])
            self.writer.mux(self.stream.encode(None))
            if self.damaged:
                self.say(f"{self.damaged} packets of {self.name} are left out: they are damaged")
            return
        try:
            frames = packet.decode()
        except av.FFmpegError:
            self.damaged += 1
            return
        for frame in frames:
            self._resample(_laid_out(frame))

    def _resample(self, frame: Any) -> None:
        """Encode a frame; where rate, format or layout change within a track, a new resampler takes over."""
        import av

        shape = frame.format.name, frame.layout.name, frame.sample_rate
        if shape != self.shape:
            if self.resampler:
                self._encode(self.resampler.resample(None))
            self.shape, self.resampler = shape, av.AudioResampler("fltp", self.layout, self.stream.rate)
        self._encode(self.resampler.resample(frame))

    def _encode(self, frames: list[Any]) -> None:
        for frame in frames:
            self.writer.mux(self.stream.encode(frame))


def _laid_out(frame: Any) -> Any:
    """The frame, with the usual layout for its number of channels where the file tells none."""
    import av

    count = frame.layout.nb_channels
    if not frame.layout.name.endswith("channels") or count not in LAYOUTS:
        return frame
    new = av.AudioFrame.from_ndarray(frame.to_ndarray(), frame.format.name, LAYOUTS[count])
    new.sample_rate, new.pts, new.time_base = frame.sample_rate, frame.pts, frame.time_base
    return new


def _layout(frame: Any, rate: int) -> str:
    """The first layout that the encoder takes: the frame's own, the usual one of its channels, or stereo."""
    import av

    for layout in (frame.layout.name, LAYOUTS.get(frame.layout.nb_channels, "stereo")):
        context = av.CodecContext.create("aac", "w")
        try:
            context.sample_rate, context.layout, context.format = rate, layout, "fltp"
            context.open()
        except (av.FFmpegError, ValueError):
            continue
        return layout
    return "stereo"

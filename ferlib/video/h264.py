"""Write H.264 with the sound of another video, with PyAV (the extra ``video``)."""

import contextlib
import errno
import logging
import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import av
import numpy as np

logger = logging.getLogger(__name__)

# Codecs of sound that every player of MP4 knows, and that are copied as they are.
_COPIED = frozenset({"aac", "mp3"})

# PyAV's encoder of H.264.
_ENCODER: Final = "libx264"
# The quality of x264 (lower is better, 18 is hardly distinguishable), and how much time it takes for it.
_OPTIONS = {"crf": "20", "preset": "veryfast"}


class H264Encoder:
    """Encode frames as H.264 and copy the sound of a video; see `ferlib.video.writer.Encoder`.

    Parameters
    ----------
    path : path
    rate : float
        Frames per second.
    size : tuple of int
        (height, width) in pixels, both even.
    sound : path, optional
        A video whose sound is copied, if it has any that can be decoded.
    start : float
        Time in the video `sound` of the first frame, in seconds since its first frame.
    """

    def __init__(
        self, path: Path, rate: float, size: tuple[int, int], *, sound: str | Path | None = None, start: float = 0.0
    ) -> None:
        self._stack = contextlib.ExitStack()
        self._rate = Fraction(rate).limit_denominator(1001)
        # Browsers start a video whose index comes first before all of it has arrived.
        options = {"movflags": "+faststart"} if path.suffix.lower() != ".mkv" else {}
        self._output = self._stack.enter_context(av.open(str(path), "w", options=options))
        try:
            self._video = self._output.add_stream(_ENCODER, rate=self._rate, options=dict(_OPTIONS))
        except ValueError:
            self._stack.close()
            raise
        self._video.height, self._video.width = size
        self._video.pix_fmt = "yuv420p"
        self._n_frames = 0
        self._sound: _Sound | None = None
        if sound is not None:
            # A video without sound that can be copied is still a video.
            with contextlib.suppress(av.error.FFmpegError, OSError, ValueError, IndexError):
                self._sound = _Sound(Path(sound), self._output, self._stack, start)

    def write(self, image: np.ndarray) -> None:
        """Add a frame, and the sound until then."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame.pts, frame.time_base = self._n_frames, 1 / self._rate
        self._n_frames += 1
        self._output.mux(self._video.encode(frame))
        self._copy_sound()

    def close(self) -> None:
        """Complete the file."""
        try:
            if self._n_frames:
                self._output.mux(self._video.encode(None))
                self._copy_sound(is_last=True)
        finally:
            self._stack.close()

    def _copy_sound(self, *, is_last: bool = False) -> None:
        """Write the sound of the frames so far."""
        if self._sound is None:
            return
        try:
            for packet in self._sound.read(float(self._n_frames / self._rate), is_last=is_last):
                self._output.mux(packet)
        except (av.error.FFmpegError, ValueError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            logger.warning("the sound ends early: it is damaged (%s).", error)
            self._sound = None


class _Sound:
    """The sound of a video, as packets for an output."""

    def __init__(self, path: Path, output: Any, stack: contextlib.ExitStack, start: float) -> None:
        source = stack.enter_context(av.open(str(path)))
        stream = source.streams.audio[0]
        # Times are measured from the first frame of the video, as those of the frames are.
        video = source.streams.video[0]
        self._start = (video.start_time or 0) * (video.time_base or Fraction(0)) + Fraction(start)
        if stream.codec_context.name.split("_")[0] in _COPIED:
            self._stream = output.add_stream_from_template(stream)
            self._packets = self._copied(source, stream)
        else:
            rate = stream.codec_context.sample_rate or 48_000
            self._stream = output.add_stream("aac", rate=rate, layout="stereo")
            self._packets = self._encoded(source, stream)
        self._waiting: Any = None

    def read(self, until: float, *, is_last: bool) -> Iterator[Any]:
        """Yield the packets until a time in seconds of the output."""
        while True:
            packet = self._waiting or next(self._packets, None)
            self._waiting = None
            if packet is None:
                return
            if packet.pts is not None and packet.pts * packet.time_base > until:
                self._waiting = None if is_last else packet
                return
            yield packet

    def _copied(self, source: Any, stream: Any) -> Iterator[Any]:
        """Yield the packets as they are, with new times."""
        for packet in source.demux(stream):
            if packet.pts is None or packet.size == 0:
                continue
            shift = round(self._start / packet.time_base)
            packet.pts -= shift
            packet.dts = packet.pts if packet.dts is None else packet.dts - shift
            if packet.pts >= 0:
                packet.stream = self._stream
                yield packet

    def _encoded(self, source: Any, stream: Any) -> Iterator[Any]:
        """Yield the sound as AAC."""
        context = self._stream.codec_context
        resampler = av.AudioResampler(format="fltp", layout="stereo", rate=context.sample_rate, frame_size=1024)
        n_samples = None
        frames = source.decode(stream)
        while True:
            try:
                frame = next(frames, None)
            # One damaged packet is not the end of the sound.
            except av.error.InvalidDataError:
                continue
            if frame is not None and frame.time is not None and n_samples is None:
                if frame.time < self._start:
                    continue
                n_samples = math.floor((Fraction(frame.time) - self._start) * context.sample_rate)
            for part in resampler.resample(frame):
                part.pts, part.time_base = n_samples or 0, Fraction(1, context.sample_rate)
                n_samples = (n_samples or 0) + part.samples
                yield from self._stream.encode(part)
            if frame is None:
                yield from self._stream.encode(None)
                return

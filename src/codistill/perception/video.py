"""Read frames of a video file, upright and in order, and write frames as an MP4. Needs the extra `video` (PyAV)."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import UInt8

from codistill.errors import DataError, MissingExtraError
from codistill.files.writing import cannot_write, remove_quietly, temporary_name

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm", ".mpg", ".mpeg", ".ts", ".wmv")
"""Suffixes of video files, in lower case; upper case is accepted too."""

CODECS = ("libx264", "libopenh264", "mpeg4")
"""Codecs, tried in this order: H.264 plays everywhere; the last one is always available."""


@dataclass(frozen=True)
class Frame:
    """A frame of a video.

    Attributes:
        number: index in the file, from 0.
        seconds: time of presentation.
        pixels: (row, column, 3) uint8, upright.
    """

    number: int
    seconds: float
    pixels: UInt8[np.ndarray, "row column 3"]


def _av() -> Any:
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("av", "video", "Reading and writing videos") from error
    return av


def is_video(path: Path) -> bool:
    """Whether a file's suffix is a video's."""
    return path.suffix.lower() in VIDEO_SUFFIXES


class VideoReader:
    """Iterator over the frames of a video file.

    Args:
        path: path of the file.
        every: n to read only every n-th frame.
        most: largest number of frames; None: all.

    Attributes:
        rate: frames per second of those returned.
        total: number of frames to be returned; None if the file does not say it.

    Raises:
        MissingExtraError: without PyAV.
        DataError: if the file has no readable video.
    """

    def __init__(self, path: Path, *, every: int = 1, most: int | None = None) -> None:
        av = _av()
        self.path, self.every, self.most = path, every, most
        self._errors = (av.error.FFmpegError, OSError, ValueError)
        try:
            self._container = av.open(str(path))
            if not self._container.streams.video:
                raise DataError(f"{path}: holds no video")
            self._stream = self._container.streams.video[0]
        except DataError:
            raise
        except FileNotFoundError as error:
            raise DataError(f"{path}: no such file") from error
        except self._errors as error:
            reason = getattr(error, "strerror", None) or error
            raise DataError(f"{path}: is no video that can be read ({reason})") from error
        self._stream.thread_type = "AUTO"
        rate = self._stream.average_rate or self._stream.guessed_rate or Fraction(25)
        self.rate = Fraction(rate) / every
        count = self._stream.frames or self._estimated(Fraction(rate))
        self.total = None if count is None else -(-count // every)
        if most is not None:
            self.total = most if self.total is None else min(most, self.total)

    def _estimated(self, rate: Fraction) -> int | None:
        duration = self._container.duration
        return None if duration is None else max(1, round(duration / 1e6 * float(rate)))

    def __iter__(self) -> Iterator[Frame]:
        given = 0
        try:
            for number, frame in enumerate(self._container.decode(self._stream)):
                if self.most is not None and given >= self.most:
                    return
                if number % self.every:
                    continue
                pixels = frame.to_ndarray(format="rgb24")
                turns = round(getattr(frame, "rotation", 0) / 90) % 4  # counter-clockwise, as numpy counts
                seconds = (
                    float(frame.time) if frame.time is not None else number / float(self.rate * self.every)
                )
                yield Frame(number, seconds, np.ascontiguousarray(np.rot90(pixels, turns)))
                given += 1
        except self._errors as error:
            if not given:
                raise DataError(f"{self.path}: no frame can be decoded ({error})") from error
            raise DataError(f"{self.path}: cannot be decoded after {given} frames ({error})") from error
        if not given:
            raise DataError(f"{self.path}: holds no frame")

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()


class VideoWriter:
    """Context that writes an MP4 file; the file is kept only if the block ends without an error.

    Args:
        path: path of the file.
        rate: frames per second.
    """

    def __init__(self, path: Path, rate: Fraction) -> None:
        self._path, self._rate, self._av = path, rate, _av()
        self._temporary = temporary_name(path)
        self._container: Any = None  # opened at the first frame, which gives the size
        self._stream: Any = None

    def __enter__(self) -> "VideoWriter":
        return self

    def add(self, pixels: UInt8[np.ndarray, "row column 3"]) -> None:
        """Write a frame; all frames have the first one's size, cropped to even sides.

        Raises:
            WriteError: if the file cannot be written.
        """
        rows, columns = (side // 2 * 2 for side in pixels.shape[:2])
        try:
            if self._container is None:
                self._open(rows, columns)
            container: Any = self._container
            frame = self._av.VideoFrame.from_ndarray(
                np.ascontiguousarray(pixels[:rows, :columns]), format="rgb24"
            )
            for packet in self._stream.encode(frame):
                container.mux(packet)
        except (self._av.error.FFmpegError, OSError) as error:
            raise cannot_write(self._path, error) from error

    def _open(self, rows: int, columns: int) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._container = self._av.open(str(self._temporary), mode="w", format="mp4")
        codec = next(name for name in CODECS if name in self._av.codecs_available)
        rate = self._rate.limit_denominator(65_535)
        self._stream = self._container.add_stream(codec, rate=rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = columns, rows, "yuv420p"
        if codec == "mpeg4":
            self._stream.bit_rate = rows * columns * 8

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._container is None:
                return
            if kind is None:
                for packet in self._stream.encode():
                    self._container.mux(packet)
            self._container.close()
            if kind is None:
                self._temporary.replace(self._path)
        except (self._av.error.FFmpegError, OSError) as problem:
            raise cannot_write(self._path, problem) from problem
        finally:
            remove_quietly(self._temporary)

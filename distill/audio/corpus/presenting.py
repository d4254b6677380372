"""What libsndfile is given of a file: all of it, or what it reads as a whole.

It stops at a tag after a FLAC file, takes one after Wave64 or 8SVX for samples, does not find an Ogg file
behind a tag, reads nothing of a WAV whose size was not known when its header was written, and estimates the
length of an MP3 from its first frame.
"""

import io
import os
import struct
from pathlib import Path
from typing import BinaryIO, cast

from attrs import define, field

from distill.audio.corpus.chunks import unknown_size
from distill.audio.corpus.mpeg import table_for
from distill.audio.corpus.tags import untagged

__all__ = ["present"]


@define(eq=False, slots=False)
class _Part(io.RawIOBase):
    """The bytes of a file from `start` to `end`, with bytes before them, and others from a place on."""

    file: BinaryIO
    start: int
    end: int
    before: bytes = b""
    patch: tuple[int, bytes] = (0, b"")
    place: int = field(default=0, init=False)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.place

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        size = len(self.before) + self.end - self.start
        self.place = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.place, os.SEEK_END: size}[whence])
        return self.place

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # any buffer that can be written
        """Read as much as fits into `buffer`."""
        view = memoryview(buffer).cast("B")
        first = self.before[self.place : self.place + len(view)]
        origin = self.start + max(self.place - len(self.before), 0)
        self.file.seek(origin)
        data = bytearray(self.file.read(max(0, min(len(view) - len(first), self.end - origin))))
        at, patch = self.patch
        for index, byte in enumerate(patch, at - origin):
            if 0 <= index < len(data):
                data[index] = byte
        count = len(first) + len(data)
        view[:count] = first + bytes(data)
        self.place += count
        return count

    def close(self) -> None:
        self.file.close()
        super().close()


def present(path: Path) -> BinaryIO:
    """Return a file as libsndfile is to read it.

    Raises:
        OSError: the file cannot be read.
    """
    file = path.open("rb")
    try:
        return _presented(file) or file
    except BaseException:
        file.close()
        raise


def _presented(file: BinaryIO) -> BinaryIO | None:
    start, end = untagged(file)
    file.seek(start)
    mark = file.read(4)
    size = file.seek(0, os.SEEK_END)
    part = None
    if mark in {b"fLaC", b"OggS", b"FORM", b"riff"}:
        part = _Part(file, start, end) if end - start < size else None
    elif mark in {b"RIFF", b"RIFX", b"caff"}:
        unknown = unknown_size(file) if not start else None
        part = unknown and _Part(file, 0, size, patch=(unknown[0], struct.pack(*unknown[1:])))
    elif table := table_for(file, end):
        part = _Part(file, start, size, before=table)
    return cast("BinaryIO | None", part)

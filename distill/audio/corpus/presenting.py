"""The part of a file that is passed to libsndfile: all of it, or the part that it reads as a whole.

libsndfile stops at a tag or zeros after a FLAC file, and takes them for samples after Wave64 or 8SVX. It does
not find an Ogg file behind a tag, reads nothing of a WAV whose size was not known when its header was
written, and estimates the length of an MP3 from its first frame.
"""

import io
import os
import struct
from pathlib import Path
from typing import BinaryIO, cast

import soundfile
from attrs import define, field

from distill.audio.corpus.chunks import samples_of, unknown_size
from distill.audio.corpus.mpeg import table_for
from distill.audio.corpus.ogg import pages_end
from distill.audio.corpus.padding import zeros_from
from distill.audio.corpus.tags import untagged

__all__ = ["ForwardSoundFile", "present"]

_FLAC_CHECKSUM = 2
"""The bytes at the end of a FLAC file that may be zeros of its own, which no checksum tells from others."""

_BLOCK = 2**16


class ForwardSoundFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile carries no types
    """A sound file that is read without seeking.

    `SoundFile` seeks after every block, which fails at the end of streamed and of damaged files.
    """

    def seekable(self) -> bool:
        """Return False."""
        return False


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
        part = _presented(file)
        file.seek(0)
    except BaseException:
        file.close()
        raise
    return part or file


def _presented(file: BinaryIO) -> BinaryIO | None:
    start, end = untagged(file)
    file.seek(start)
    mark = file.read(4)
    end = _unpadded(file, mark, start, end)
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


def _unpadded(file: BinaryIO, mark: bytes, start: int, end: int) -> int:
    """Return where the content of a file ends of which libsndfile stumbles over zeros that follow it."""
    place = end
    zeros = zeros_from(file, start, end) if mark in {b"fLaC", b"OggS", b"FORM", b"riff"} else end
    if zeros == end:
        return end
    if mark == b"fLaC":
        ends = [end, *range(zeros, min(zeros + _FLAC_CHECKSUM, end) + 1)]
        place = next((each for each in ends if _decodes(file, start, each)), end)
    elif mark == b"OggS":
        place = pages_end(file, start)
    elif not start and (samples := samples_of(file)) is not None:
        place = samples.start + samples.size
    return place if zeros <= place < end else end


def _decodes(file: BinaryIO, start: int, end: int) -> bool:
    """Return whether libsndfile decodes a part of a file to its end without an error."""
    part = _Part(Path(file.name).open("rb"), start, end)  # noqa: SIM115  # closed with the part
    try:
        with part, ForwardSoundFile(part) as sound:
            while sound.read(_BLOCK, dtype="float32").size:
                pass
    except soundfile.SoundFileError:
        return False
    return True

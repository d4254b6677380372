"""Completeness of MPEG audio (MP3, and layers I and II), which has no header for the whole file.

Decoders skip what is not a frame, and stop where a table of contents ends. Here the frames are counted.
"""

from typing import BinaryIO

from attrs import frozen

_LAYERS = {3: 1, 2: 2, 1: 3}
_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
_BITRATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""kbit/s by version (whether it is MPEG 1) and layer."""

_BLOCK = 2**16
_LEADING = 2**16
"""As many bytes before the first frame are ignored: the rest of a frame, in a part of a broadcast."""

_UNDECODED = 10_000
"""Samples that a decoder may drop: its delay, and the padding at both ends (at most 4095 samples each)."""


@frozen
class _Frame:
    """A frame: its `kind` (version, layer, sample rate and whether mono), size in bytes, and samples."""

    kind: tuple[int, int, int, bool]
    size: int
    samples: int

    @property
    def table(self) -> int:
        """The position of a table of contents (`Xing` or `Info`) in the frame."""
        version, _, _, mono = self.kind
        return 4 + ((17 if mono else 32) if version == 3 else (9 if mono else 17))


def _frame(header: bytes) -> _Frame | None:
    """Return the frame that has a header, or None if it is not one."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, _LAYERS.get(header[1] >> 1 & 3)
    rate, bitrate = header[2] >> 2 & 3, header[2] >> 4
    if version not in _RATES or layer is None or rate == 3 or not 0 < bitrate < 15:
        return None
    hertz, padding = _RATES[version][rate], header[2] >> 1 & 1
    kilobits = _BITRATES[version == 3, layer][bitrate - 1]
    samples = 384 if layer == 1 else 576 if layer == 3 and version != 3 else 1152
    size = samples // 8 * kilobits * 1000 // hertz + padding
    if layer == 1:
        size = (12 * kilobits * 1000 // hertz + padding) * 4
    return _Frame((version, layer, hertz, header[3] >> 6 == 3), size, samples)


@frozen
class _Reader:
    """The bytes of a file up to `end`."""

    file: BinaryIO
    end: int

    def at(self, place: int, size: int) -> bytes:
        self.file.seek(place)
        return self.file.read(max(0, min(size, self.end - place)))

    def frame(self, place: int) -> _Frame | None:
        """Return the frame at `place` if another one, a tag, or the end follows it."""
        frame = _frame(self.at(place, 4))
        if frame is None:
            return None
        following = place + frame.size
        known = following >= self.end or _frame(self.at(following, 4)) is not None
        return frame if known or self.tag(following) else None

    def tag(self, place: int) -> int:
        """Return the size of the tag at `place`, 0 if there is none."""
        start = self.at(place, 32)
        if start.startswith(b"ID3") and len(start) >= 10:
            size = sum(byte << shift for byte, shift in zip(start[6:10], (21, 14, 7, 0), strict=True))
            return 10 + size + (10 if start[5] & 16 else 0)
        if start.startswith(b"TAG+"):
            return 227
        if start.startswith(b"TAG"):
            return 128
        if start.startswith(b"APETAGEX") and len(start) == 32:
            header = 32 if start[23] & 0x80 else 0
            return int.from_bytes(start[12:16], "little") + header if start[23] & 0x20 else 32
        if start.startswith(b"LYRICSBEGIN"):
            rest = self.at(place, min(_BLOCK, self.end - place))
            stop = max(rest.find(b"LYRICS200"), rest.find(b"LYRICSEND"))
            return stop + 9 if stop > 0 else 0
        return 0

    def search(self, place: int) -> int | None:
        """Return the position of the next frame from `place` on."""
        while place < self.end:
            block = self.at(place, _BLOCK)
            at = block.find(b"\xff")
            while at >= 0:
                if self.frame(place + at) is not None:
                    return place + at
                at = block.find(b"\xff", at + 1)
            place += len(block)
        return None

    def is_padding(self, place: int) -> bool:
        """Return whether only zeros follow, in what is at most a block."""
        return self.end - place <= _BLOCK and not self.at(place, _BLOCK).strip(b"\0")


def mpeg_problem(file: BinaryIO, start: int, end: int, decoded: int) -> str:
    """Return why a stream of MPEG audio in a file is incomplete, or an empty string.

    Args:
        file: the file.
        start: the position of the stream, which may begin with tags.
        end: the end of the stream.
        decoded: the number of samples per channel that were decoded.
    """
    reader = _Reader(file, end)
    place = start
    while size := reader.tag(place):
        place += size
    first = reader.search(place)
    if first is None or first - place > _LEADING:
        return ""  # in free format, or not as described here: left to the decoder
    head = reader.frame(first)
    if head is None:
        return ""
    frames, problem = _walk(reader, first, head)
    announced = _table(reader.at(first, 64), head)
    if problem or announced is None:
        return problem or _undecoded(frames * head.samples, decoded)
    frames -= 1  # the table itself
    if announced and frames < announced - 1:
        return f"is cut short: {frames:,} of its {announced:,} frames are there"
    if announced and frames > announced + 1:
        return _second(end - first)
    return _undecoded(frames * head.samples, decoded)


def _walk(reader: _Reader, place: int, head: _Frame) -> tuple[int, str]:
    """Return the number of frames from `place` on, and the problem that ends them, if any."""
    frames, tagged = 0, False
    while place < reader.end:
        frame = _frame(reader.at(place, 4))
        if frame is not None and frame.kind == head.kind and not tagged:
            if place + frame.size > reader.end:
                return frames, "is cut short: its last frame is incomplete"
            if frames and _table(reader.at(place, 64), frame) is not None:
                return frames, _second(reader.end - place)
            frames, place = frames + 1, place + frame.size
        elif size := reader.tag(place):
            place, tagged = place + size, True
        elif reader.is_padding(place):
            break
        else:
            return frames, _lost(reader, place, head, tagged=tagged)
    return frames, ""


def _undecoded(samples: int, decoded: int) -> str:
    if decoded + _UNDECODED >= samples:
        return ""
    return f"is damaged: {decoded:,} of its {samples:,} samples can be decoded"


def _lost(reader: _Reader, place: int, head: _Frame, *, tagged: bool) -> str:
    """Return the problem where neither a frame of the stream nor a tag follows."""
    following = reader.search(place)
    if following is None:
        return f"holds {reader.end - place:,} bytes after its last frame, which would not be read"
    frame = reader.frame(following)
    if tagged or frame is None or frame.kind != head.kind:
        return _second(reader.end - following)
    return f"is damaged: {following - place:,} bytes in its middle are not audio"


def _second(size: int) -> str:
    return f"holds more than one recording: {size:,} bytes of another follow, which would not be read"


def _table(frame: bytes, head: _Frame) -> int | None:
    """Return the number of frames in the table of contents that a frame holds, None if it holds no table."""
    at = head.table
    if frame[at : at + 4] not in {b"Xing", b"Info"}:
        return None
    return int.from_bytes(frame[at + 8 : at + 12], "big") if frame[at + 7] & 1 else 0

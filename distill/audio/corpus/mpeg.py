"""Completeness of MPEG audio (MP3, and layers I and II), which has no header for the whole file.

Decoders skip what is not a frame, and stop where a table of contents ends. Here the frames are counted.
"""

from typing import BinaryIO

from attrs import define, frozen

from distill.audio.corpus.tags import INAUDIBLE, tag_at, untagged

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
    """The bytes of a file up to `end`, where the sound ends at `sound` and tags may follow."""

    file: BinaryIO
    end: int
    sound: int

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
        return tag_at(self.file, place, self.end)

    def search(self, place: int, most: int | None = None) -> int | None:
        """Return the position of the next frame from `place` on, at most about `most` bytes later."""
        stop = self.end if most is None else min(self.end, place + most)
        while place < stop:
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


def mpeg_problem(file: BinaryIO, start: int, end: int, decoded: int) -> tuple[str, str]:
    """Return why a stream of MPEG audio in a file is incomplete, and a note on it if it is used.

    A recording of a broadcast ends within a frame. Nothing is lost then but the rest of this frame.

    Args:
        file: the file.
        start: the position of the stream, which may begin with tags.
        end: the end of the stream.
        decoded: the number of samples per channel that were decoded.
    """
    reader = _reader(file, end)
    begun = _begin(reader, start)
    if begun is None:
        return "", ""  # in free format, or not as described here: left to the decoder
    first, head = begun
    walked = _walk(reader, first, head)
    frames, announced = walked.frames, _table(reader.at(first, 64), head)
    if walked.problem:
        return walked.problem, ""
    if announced is not None:
        frames -= 1  # the table itself
        if announced and frames < announced - 1:
            return f"is cut short: {frames:,} of its {announced:,} frames are there", ""
        if announced and frames > announced + 1:
            return _second(end - first), ""
    problem = _undecoded(frames * head.samples, decoded)
    if problem or not walked.partial:
        return problem, ""
    lost = 1000 * head.samples / head.kind[2]
    return "", f"ends within a frame, of which {lost:.0f} ms are not decoded"


def table_for(file: BinaryIO, end: int) -> bytes | None:
    """Return a frame with a table of contents for a stream of frames of several sizes that has none.

    Without one, decoders estimate the length of the stream from its first frame, and stop there.
    """
    reader = _reader(file, end)
    begun = _begin(reader, 0)
    if begun is None:
        return None
    place, head = begun
    header = reader.at(place, 4)
    if head.kind[1] != 3 or _table(reader.at(place, 64), head) is not None:
        return None
    walked = _walk(reader, place, head)
    if walked.problem or walked.largest - walked.smallest <= 1:  # of a constant rate, apart from padding
        return None
    most = header[:2] + bytes([header[2] & 0x0F | 0x90]) + header[3:]
    frame = _frame(most)
    if frame is None:
        return None
    table = b"Xing" + (1).to_bytes(4, "big") + walked.frames.to_bytes(4, "big")
    return (most + bytes(frame.table - 4) + table).ljust(frame.size, b"\0")


def _reader(file: BinaryIO, end: int) -> _Reader:
    return _Reader(file, end, min(end, untagged(file)[1]))


def _begin(reader: _Reader, place: int) -> tuple[int, _Frame] | None:
    """Return the position of the first frame after the tags at `place`, and the frame, if there is one."""
    while size := reader.tag(place):
        place += size
    first = reader.search(place, _LEADING)
    if first is None or first - place > _LEADING:
        return None
    head = reader.frame(first)
    return None if head is None else (first, head)


@define
class _Walked:
    """The whole frames of a stream: their number and sizes; whether a part of one follows, or a problem."""

    frames: int = 0
    smallest: int = 2**31
    largest: int = 0
    partial: bool = False
    problem: str = ""


def _walk(reader: _Reader, place: int, head: _Frame) -> _Walked:
    """Count the frames from `place` on, up to the problem that ends them, if any."""
    walked, tagged = _Walked(), False
    while place < reader.end:
        frame = _frame(reader.at(place, 4))
        if frame is not None and frame.kind == head.kind and not tagged and not walked.partial:
            if place + frame.size > reader.sound:
                walked.partial, place = True, reader.sound
                continue
            if walked.frames and _table(reader.at(place, 64), frame) is not None:
                walked.problem = _second(reader.end - place)
                break
            walked.frames += 1
            walked.smallest = min(walked.smallest, frame.size)
            walked.largest = max(walked.largest, frame.size)
            place += frame.size
        elif size := reader.tag(place):
            place, tagged = place + size, True
        elif reader.is_padding(place) or reader.end - place <= INAUDIBLE:
            break
        else:
            walked.problem = _lost(reader, place, head, tagged=tagged)
            break
    return walked


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
    if frame[at : at + 4] not in {b"Xing", b"Info"} or len(frame) < at + 12:
        return None
    return int.from_bytes(frame[at + 8 : at + 12], "big") if frame[at + 7] & 1 else 0

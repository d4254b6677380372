"""Event files of TensorBoard, written at once and in the calling thread.

The writer of tensorboardX hands events to a thread over a queue. If that thread dies, because the disk is
full for one, the queue fills up and the training waits for ever; a killed process loses what is in the queue.
"""

import secrets
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from distill.storage.files import append_whole

Scalars: TypeAlias = dict[tuple[int, str], tuple[float, float]]
"""The time of writing and the value of scalars, by step and tag."""

_FRAME = 16
"""The bytes around an event: its length and two checksums."""


class EventFile:
    """A new event file in a folder, which is created.

    The events are for looking at: if they cannot be written, `warn` is called once with the reason, and the
    training goes on without them.

    For a resumed run, `earlier` are the scalars of earlier event files that are kept. The new file begins
    with them and replaces those files, so that each step is there once.
    """

    def __init__(
        self, folder: Path, *, warn: Callable[[str], None], earlier: "Scalars | None" = None
    ) -> None:
        old = _event_files(folder)
        self.path, self._warn, self._writable = _next_file(folder, old), warn, True
        events = [Event(wall_time=time.time(), file_version="brain.Event:2")]
        if earlier is not None:
            # A TensorBoard that is running forgets what it has read of the replaced files.
            start = SessionLog(status=SessionLog.START)
            events.append(Event(wall_time=time.time(), step=0, session_log=start))
            for (step, tag), (wall_time, value) in sorted(earlier.items()):
                scalar = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
                events.append(Event(wall_time=wall_time, step=step, summary=scalar))
        self._append(*events)
        if earlier is not None and self._writable:
            for path in old:
                if _scalars_of(path) is not None:
                    with suppress(OSError):
                        path.unlink()

    def add_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write the scalars of a step by their tags."""
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._append(Event(wall_time=time.time(), step=step, summary=Summary(value=scalars)))

    def _append(self, *events: Event) -> None:
        if not self._writable:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            append_whole(self.path, b"".join(_framed(event.SerializeToString()) for event in events))
        except OSError as error:
            self._writable = False
            self._warn(
                f"{self.path.parent}: TensorBoard's events cannot be written: {error.strerror or error}\n"
                "The training goes on without them; metrics.jsonl has the same values."
            )


def read_scalars(folder: Path) -> Scalars:
    """Return the scalars of all event files in a folder. Files that hold anything else are left out."""
    scalars: Scalars = {}
    for path in _event_files(folder):
        scalars |= _scalars_of(path) or {}
    return scalars


def _scalars_of(path: Path) -> Scalars | None:
    """Return the scalars of an event file up to a damaged event, or None if it holds anything else."""
    try:
        data = memoryview(path.read_bytes())
    except OSError:
        return None
    scalars: Scalars = {}
    while data:
        if len(data) < _FRAME:
            break
        (length,) = struct.unpack("<Q", data[:8])
        frame, data = data[: length + _FRAME], data[length + _FRAME :]
        if frame != _framed(bytes(frame[12:-4])):
            break
        event = Event.FromString(bytes(frame[12:-4]))
        for value in event.summary.value:
            if value.WhichOneof("value") != "simple_value":
                return None
            scalars[event.step, value.tag] = event.wall_time, value.simple_value
    return scalars


def _event_files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.glob("events.out.tfevents.*") if path.is_file())
    except OSError:
        return []


def _next_file(folder: Path, others: Iterable[Path]) -> Path:
    """Return a new name that sorts after those of the other files, also if the clock was set back."""
    names = [path.name.split(".")[3] for path in others]
    number = max([int(time.time()), *(int(name) + 1 for name in names if name.isdecimal())])
    return folder / f"events.out.tfevents.{number:010d}.distill.{secrets.token_hex(4)}"


def _framed(data: bytes) -> bytes:
    """Return a record of a TFRecord file: length and data, each followed by its checksum."""
    length = struct.pack("<Q", len(data))
    return b"".join(
        (length, struct.pack("<I", masked_crc32c(length)), data, struct.pack("<I", masked_crc32c(data)))
    )

"""Event files of TensorBoard, written at once and in the calling thread.

The writer of tensorboardX hands events to a thread over a queue. If that thread dies, because the disk is
full for one, the queue fills up and the training waits for ever; a killed process loses what is in the queue.
"""

import secrets
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from distill.storage.files import append_whole


class EventFile:
    """A new event file in a folder, which is created. TensorBoard ignores earlier steps from `purge_step` on.

    The events are for looking at: if they cannot be written, `warn` is called once with the reason, and the
    training goes on without them.
    """

    def __init__(self, folder: Path, *, purge_step: int | None, warn: Callable[[str], None]) -> None:
        self.path, self._warn, self._writable = _next_file(folder), warn, True
        self._append(Event(wall_time=time.time(), file_version="brain.Event:2"))
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._append(Event(wall_time=time.time(), step=purge_step, session_log=start))

    def add_scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write the scalars of a step by their tags."""
        scalars = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._append(Event(wall_time=time.time(), step=step, summary=Summary(value=scalars)))

    def _append(self, event: Event) -> None:
        if not self._writable:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            append_whole(self.path, _framed(event.SerializeToString()))
        except OSError as error:
            self._writable = False
            self._warn(
                f"{self.path.parent}: TensorBoard's events cannot be written: {error.strerror or error}\n"
                "The training goes on without them; metrics.jsonl has the same values."
            )


def _next_file(folder: Path) -> Path:
    """Return a new name that sorts after those of the other files, also if the clock was set back."""
    try:
        names = [path.name.split(".")[3] for path in folder.glob("events.out.tfevents.*")]
    except OSError:
        names = []
    number = max([int(time.time()), *(int(name) + 1 for name in names if name.isdecimal())])
    return folder / f"events.out.tfevents.{number:010d}.distill.{secrets.token_hex(4)}"


def _framed(data: bytes) -> bytes:
    """Return a record of a TFRecord file: length and data, each followed by its checksum."""
    length = struct.pack("<Q", len(data))
    return b"".join(
        (length, struct.pack("<I", masked_crc32c(length)), data, struct.pack("<I", masked_crc32c(data)))
    )

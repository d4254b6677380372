"""The process that holds the lock of a folder, as the text of the lock names it. Loads no torch."""

import os
import time
from pathlib import Path

from attrs import frozen

from distill.errors import printable

STALE_SECONDS = 120.0
"""How long a process elsewhere may show no sign of life. Clients of NFS cache attributes for up to 60 s."""

EMPTY_SECONDS = 10.0
"""How long a lock may be empty. A process writes its name at once, unless it is killed just then."""

_PF_EXITING = 0x4
_DEAD = "Z", "X"
_KILLED = 1 << 8
"""Of /proc/PID/stat, the flag of a task that exits, and states; of the masks of signals, SIGKILL."""


@frozen
class Holder:
    """The process that holds a lock, the time at which it began, and the seconds since its last sign of life.

    `process` and `host` are None where the lock names none. `here` says whether it would be visible here,
    and `patience` how many seconds without a sign of life say that it has ended, if it would not be. `token`
    tells it from another process of the same number, where the lock holds one.
    """

    process: int | None
    host: str | None
    since: float
    silent: float
    here: bool
    identity: tuple[int, int]
    patience: float = STALE_SECONDS
    token: int | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it does not run any more: known if it would be visible here, guessed from silence else."""
        if self.here and self.process is not None:
            return os.name != "nt" and has_ended(self.process, self.token)
        return self.silent > self.patience

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"{named(self.process, self.host)}, since {since}"


def named(process: int | None, host: str | None) -> str:
    """Return the name of a process for a message."""
    # A container adds its namespace of processes to the name of its machine.
    machine = printable(host).partition("?")[0]
    return f"process {process} on {machine}" if process else "a process that it does not name"


def has_ended(process: int, token: int | None) -> bool:
    """Return whether a process of this machine, of which a lock tells, does not run any more.

    On Linux, that is also known of one that was killed and still exists, and of one whose number is another
    process's by now. A killed process exists until its memory is released, which takes a while on a busy
    machine, and then until its parent has asked for its status, which that of a container may never do.
    """
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:  # it is another user's
        pass
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{process}/status").read_text().splitlines()
        pending = [int(line.split()[1], 16) for line in status if line.startswith(("SigPnd:", "ShdPnd:"))]
        exiting, began = int(fields[6]) & _PF_EXITING, int(fields[19])
    except (OSError, ValueError, IndexError):  # not on Linux, or it is gone
        return False
    another = token is not None and token % 2**64 != began
    return fields[0] in _DEAD or bool(exiting) or another or any(mask & _KILLED for mask in pending)


def names_in(record: str) -> tuple[int | None, str | None, int | None]:
    """Return the process, the machine and the token that the text of a lock holds."""
    process, host, token, *_ = [*record.split("\n"), "", "", ""]
    if "\n" not in record or not (process.isascii() and process.isdigit() and int(process)):
        return None, None, None
    return int(process), host, int(token) if token.isascii() and token.isdigit() else None

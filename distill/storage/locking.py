"""Exclusive use of a folder by one process, on any machine that shares it. Loads no torch.

The lock is a file that the process creates in the folder and removes at the end, which is atomic on network
file systems, too. It names the process and its machine. Whether a process of this machine still runs is
known; a process elsewhere, or in another container, shows that it does by touching a second file every few
seconds. Ages are differences of times that the file system has set, so that machines' clocks may differ.
"""

import errno
import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from attrs import define, field
from filelock import SoftFileLock, Timeout

from distill.errors import LockError, printable
from distill.storage.lock_holder import EMPTY_SECONDS, STALE_SECONDS, Holder, has_ended, named, names_in

LOCK = ".lock"
BEAT = ".lock.beat"
GATE = ".lock.gate"
LOCK_FILES = frozenset({LOCK, BEAT, GATE})
"""The names of the files of a lock, which do not count as the content of a folder."""

BEAT_SECONDS = 5.0
_GATE_SECONDS = 20.0
"""How long the gate may stay as it is. A process holds it while it takes a lock, which may be empty."""

_TOLD_SECONDS = 2.0
"""A wait of so long is told."""

_LOOK_SECONDS = 0.2
_GATE_LOOK_SECONDS = 0.02
_LONGEST_RECORD = 1024
_TRIES = 10
_NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)  # not on Windows

_log = logging.getLogger(__name__)
"""Python prints its warnings on standard error where a program does not say otherwise."""


def _now() -> float:
    """Return the seconds of a clock that also counts the sleep of a machine, where there is one."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


@define
class Held:
    """A lock that this process holds. `taken_over` names the process that left it behind, if one did."""

    folder: Path
    taken_over: Holder | None
    _record: str
    _lost: bool = False
    _shown: float = field(factory=_now)

    @property
    def warning(self) -> str | None:
        """A sentence about a lock that was left behind, or None."""
        if self.taken_over is None:
            return None
        silent = "for minutes" if self.taken_over.patience == STALE_SECONDS else "since"
        why = "does not run any more" if self.taken_over.here else f"has shown no sign of life {silent}"
        return (
            f"{printable(self.folder)}: its lock was left behind by {self.taken_over}, which {why}. "
            "It was taken over."
        )

    def require(self) -> None:
        """Check that no other process has taken the lock over while this one did not run.

        Raises:
            LockError: another process has.
        """
        if not self.is_ours():
            raise LockError(
                "another process has taken it over, since this one showed no sign of life",
                culprit=str(self.folder),
                remedy="Nothing more is written to it here. Let the other process go on.",
            )

    def is_ours(self) -> bool:
        """Return whether the lock is still that of this process, after looking at its file.

        A lock that is gone was removed by hand, perhaps with the folder, unless this process was silent for
        so long that another may have taken it over, and have ended since.
        """
        with suppress(OSError):  # a server that is away
            try:
                # Files have no numbers of their own on SFTP, where the process is told by the text alone.
                self._lost = self._lost or _status(self.folder / LOCK)[2] != self._record
            except FileNotFoundError:
                self._lost = self.folder.is_dir() and _now() - self._shown > STALE_SECONDS
        return not self._lost

    def beat(self) -> None:
        """Show a sign of life, unless the lock is another's by now."""
        if self.is_ours():
            with suppress(FileNotFoundError):  # the folder was removed
                _touch(self.folder / BEAT)
                self._shown = _now()


def is_held(folder: Path) -> bool:
    """Return whether a process seems to hold the lock of a folder. Nothing is written.

    A process of this machine holds it as long as it runs, one elsewhere as long as it shows signs of life.
    The clocks of both machines count for that, unlike for `locked`.
    """
    try:
        since, _, record = _status(folder / LOCK)
        silent = _silence(folder, since, time.time())
    except OSError:
        return False
    process, host, token = names_in(record)
    # On Windows, `os.kill` ends any process.
    if os.name != "nt" and process is not None and host == socket.gethostname():
        return not has_ended(process, token)
    return silent < (STALE_SECONDS if record else EMPTY_SECONDS)


def _silence(folder: Path, since: float, now: float) -> float:
    """Return the seconds without a sign of life of the process that took the lock of a folder at a time.

    A time that is ahead, since a clock was put back, is as little a sign of life as one long ago.
    """
    times = [since]
    with suppress(FileNotFoundError):
        times.append(_status(folder / BEAT)[0])
    return min(abs(now - each) for each in times)


@contextmanager
def locked(folder: Path, *, doing: str, remedy: str) -> Iterator[Held]:
    """Lock an existing folder for the duration of a context, or fail at once.

    A lock that was left behind is taken over: that of a process of this machine which has ended, or that of
    a process elsewhere which has shown no sign of life for two minutes.

    Args:
        folder: the folder.
        doing: what a process with the lock does, such as "is training in it".
        remedy: what to do while another process holds the lock.

    Raises:
        LockError: another process, or another thread of this one, holds the lock.
        OSError: the folder cannot be written.
    """
    lock = SoftFileLock(folder / LOCK, thread_local=False)
    with _gate(folder):
        left_behind = _acquire(lock, folder, doing, remedy)
        _flush(folder / LOCK)
        held = Held(folder, left_behind, _status(folder / LOCK)[2])
    stop = threading.Event()
    try:
        (folder / BEAT).unlink(missing_ok=True)  # which may be a link
        held.beat()
        threading.Thread(target=_keep_beating, args=(held, stop, lock), name="lock", daemon=True).start()
        yield held
    finally:
        # Otherwise, filelock would remove that of another on SFTP, so that the thread keeps it as it is.
        if held.is_ours():
            stop.set()
            with suppress(OSError):
                (folder / BEAT).unlink(missing_ok=True)
            try:
                lock.release()
            except OSError:  # its file was closed, as a plugin may do, or a server is away
                with suppress(OSError):
                    (folder / LOCK).unlink(missing_ok=True)


@contextmanager
def _gate(folder: Path) -> Iterator[None]:
    """Let one process after the other look at a lock and take it.

    Two that take over the same lock at once would each remove the lock of the other. A process that is killed
    in the gate leaves its file behind, which is removed after a while.
    """
    gate = SoftFileLock(folder / GATE, thread_local=False)
    seen, since, waiting = None, time.monotonic(), _Waiting(folder)
    while not _take(gate):
        with suppress(FileNotFoundError):
            _, identity, record = _status(folder / GATE)
            waiting.goes_on(record)
            if identity != seen:
                seen, since = identity, time.monotonic()
            elif time.monotonic() - since > _GATE_SECONDS:
                _remove(folder / GATE, identity)
        time.sleep(_GATE_LOOK_SECONDS)
    try:
        yield
    finally:
        gate.release()


@define
class _Waiting:
    """A wait for a process that is taking the lock of a folder, which is told once if it takes seconds."""

    _folder: Path
    _since: float = field(factory=time.monotonic)
    _told: bool = False

    def goes_on(self, record: str) -> None:
        """Say that it goes on. `record` is the text of a lock, which may name the process."""
        if not self._told and time.monotonic() - self._since >= _TOLD_SECONDS:
            self._told = True
            whom = named(*names_in(record)[:2])
            _log.warning("%s: waiting for %s, which is taking its lock ...", printable(self._folder), whom)


def _acquire(lock: SoftFileLock, folder: Path, doing: str, remedy: str) -> Holder | None:
    """Acquire a lock; return the holder that had left it behind, if any."""
    holder = None
    for _ in range(_TRIES):  # others may take and release it meanwhile
        before = _read(folder)
        left_behind = before if before is not None and before.has_ended else None
        if _take(lock) or _take(lock):  # on Windows, the first attempt only removes the lock of the dead
            return left_behind
        holder = _with_name(folder, _read(folder) or before)
        if holder is None:  # it has ended just now
            continue
        # Where files cannot be exchanged, as on most network file systems, filelock removes no lock.
        if holder.has_ended:
            _remove(folder / LOCK, holder.identity)
            if _take(lock):
                return holder
        break
    if holder is not None and holder.here and holder.process == os.getpid():
        problem = f"another thread of this process {doing}"
    else:
        problem = f"another process {doing}" + (f": {holder}" if holder else "")
    raise LockError(problem, culprit=str(folder), remedy=remedy)


def _take(lock: SoftFileLock) -> bool:
    """Return whether a lock could be taken at once."""
    for attempt in range(_TRIES):
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return False
        except PermissionError as error:  # so SFTP says that another has created the file, and may be gone
            if os.path.lexists(lock.lock_file) and error.errno == errno.EPERM:
                return False
            if error.errno != errno.EPERM or attempt == _TRIES - 1:
                raise
        else:
            return True
    return False


def _with_name(folder: Path, holder: Holder | None) -> Holder | None:
    """Wait for the name of a process that is taking a lock, or until it must have been killed in that."""
    waiting = _Waiting(folder)
    while holder is not None and holder.patience == EMPTY_SECONDS and holder.silent <= EMPTY_SECONDS:
        waiting.goes_on("")
        time.sleep(_LOOK_SECONDS)
        holder = _read(folder)
    return holder


def _keep_beating(held: Held, stop: threading.Event, _: SoftFileLock) -> None:
    while not stop.wait(BEAT_SECONDS):
        with suppress(OSError):  # a network file system may be away for a while
            held.beat()


def _read(folder: Path) -> Holder | None:
    """Return the holder of a lock, or None if there is no lock."""
    try:
        since, identity, record = _status(folder / LOCK)
    except FileNotFoundError:
        return None
    now, mine = _probe(folder)
    process, host, token = names_in(record)
    return Holder(
        process=process,
        host=host,
        since=since,
        silent=_silence(folder, since, now),
        here=host is not None and host == names_in(mine)[1],
        identity=identity,
        patience=STALE_SECONDS if record else EMPTY_SECONDS,
        token=token,
    )


def _probe(folder: Path) -> tuple[float, str]:
    """Return the time of the file system, and the text of a lock that this process would write."""
    for _ in range(_TRIES):
        lock = SoftFileLock(folder / f".lock.{token_hex(8)}.partial")
        # The process that holds the lock may sweep the file at once, as one that a killed process left.
        with suppress(FileNotFoundError):
            lock.acquire(blocking=False)
            try:
                now, _, text = _status(Path(lock.lock_file))
            finally:
                lock.release()
            return now, text
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))


def _status(path: Path) -> tuple[float, tuple[int, int], str]:
    """Return the time of a file, its identity and the beginning of its text; follow no link.

    The file is opened, since clients of network file systems look at the server only then.

    Raises:
        FileNotFoundError: it is gone, perhaps since it was found.
    """
    try:
        status, text = path.lstat(), b""
        if stat.S_ISREG(status.st_mode):
            descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW)
            try:
                status, text = os.fstat(descriptor), os.read(descriptor, _LONGEST_RECORD)
            finally:
                os.close(descriptor)
    except OSError as error:
        if error.errno != errno.ESTALE:
            raise
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    return status.st_mtime, (status.st_dev, status.st_ino), text.decode(errors="replace")


def _identity(path: Path) -> tuple[int, int]:
    return _status(path)[1]


def _flush(path: Path) -> None:
    """Let other machines see the content of a file that is still open."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _touch(path: Path) -> None:
    """Set the time of a file to now, by the clock of the file system."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | _NO_FOLLOW, 0o666)
    os.close(descriptor)
    os.utime(path, follow_symlinks=False)


def _remove(path: Path, identity: tuple[int, int]) -> None:
    """Remove a file, unless it is another one by now."""
    with suppress(FileNotFoundError):
        if _identity(path) != identity:
            return
    aside = path.with_name(f".lock.{token_hex(8)}.partial")
    try:
        path.rename(aside)
    except FileNotFoundError:
        return
    if _identity(aside) != identity:
        with suppress(OSError):  # a third process may have been as fast
            aside.rename(path)
        return
    if aside.is_dir():
        aside.rmdir()
    else:
        aside.unlink()

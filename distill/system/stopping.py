"""Stopping a command by SIGINT (Ctrl-C), SIGTERM or SIGHUP: one line, and the exit status 130.

A command leaves at the first signal. A training run finishes its step and saves first, and handles signals
itself, with the same `Handlers`: see `distill.training.interruption`. Imports only the standard library,
since signals may arrive while the rest is imported.
"""

import atexit
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn, Protocol, Self, runtime_checkable

INTERRUPTED = 130
"""The exit status of a process ended by SIGINT, as in shells, and of one ended by SIGTERM or SIGHUP."""

ONE_SIGNAL_SECONDS = 1.0
"""Signals within this time count as one: a launcher and its cluster may both forward the same signal."""

_SECONDS_TO_END = 8.0
"""So long after a signal, a command may remove what it has not finished. Then the process ends at once."""

_SECONDS_TO_IMPORT = 2.0
"""So long after a signal, an import may go on. What is imported writes no files."""

SECONDS_TO_LOOK = 0.05
"""So long after a signal that could not be raised where it came, it is tried again."""

_IMPORT = "<frozen importlib._bootstrap>"

_CLEARED = "\r\x1b[K\x1b[?25h"
"""What clears the line of a terminal, and shows its cursor."""

STOPPING = tuple(
    number
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if (number := getattr(signal, name, None)) is not None  # Windows has no SIGHUP
)
"""The signals that stop a command."""


def end_at_once() -> None:
    """Let the signals end this process at once with one line, while it has no unfinished files.

    An exception would end in a traceback, or be lost in a destructor, while modules are imported. Signals
    that the process ignores, as SIGHUP under nohup, stay ignored.
    """
    for number in STOPPING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, lambda number, _: _exit(f"Stopped by {_name(number)}."))


def end_stopped() -> NoReturn:
    """End this process with the status of one that was stopped, after what is registered for its end.

    The interpreter would then release every object one by one, which takes a second of processor time, and
    many seconds on a busy machine. All files are closed by then.
    """
    atexit._run_exitfuncs()  # noqa: SLF001  # as the standard library does where it leaves by os._exit
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):  # of a terminal that is gone, or no stream
            stream.flush()
    os._exit(INTERRUPTED)


@contextmanager
def bounded_wait() -> Iterator[None]:
    """End the process with one line if this context goes on for two seconds after a signal.

    For native code that waits for other processes, which the signal may have ended: Python handles signals
    only when such code returns. Outside the main thread, and on Windows, this context does nothing.
    """
    if os.name == "nt" or threading.current_thread() is not threading.main_thread():
        yield
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    threading.Thread(target=_end_a_wait, args=(read,), name="signals", daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.close(write)


def _end_a_wait(descriptor: int) -> None:
    """End the process two seconds after a signal, whose number is read, unless the other end is closed."""
    import select  # noqa: PLC0415  # signals may arrive while this module is imported

    with os.fdopen(descriptor, "rb", buffering=0) as numbers:
        while number := numbers.read(1):
            if number[0] not in STOPPING:
                continue
            end = time.monotonic() + _SECONDS_TO_IMPORT
            while select.select([numbers], [], [], max(0.0, end - time.monotonic()))[0]:
                if not numbers.read(1):
                    return
            _exit(f"Stopped at once by {_name(number[0])}, while it waited for the other processes.")


@runtime_checkable
class Receiver(Protocol):
    """Whoever receives the signals by a handler that is a method, and knows whether one came."""

    @property
    def received(self) -> object:
        """The signal that was received, or whether one was."""


def is_stop(error: BaseException) -> bool:
    """Return whether an error may be that of a signal, and none that code has raised by itself.

    A `KeyboardInterrupt` is taken for one, unless the signals are received here and none came. In a thread
    other than the main one, and where Python's own handler is installed, that cannot be known.
    """
    if not isinstance(error, KeyboardInterrupt):
        return False
    if threading.current_thread() is not threading.main_thread():
        return True
    receiver = getattr(signal.getsignal(signal.SIGINT), "__self__", None)
    return not isinstance(receiver, Receiver) or bool(receiver.received)


class Handlers:
    """The handlers of SIGINT, SIGTERM and SIGHUP, which `receive` replaces from `install` to `restore`.

    Signals that the process ignores, as SIGHUP under nohup, stay ignored, apart from those in `even_ignored`.
    Outside the main thread, where Python handles no signals, nothing is replaced.
    """

    def __init__(
        self, receive: Callable[[int, FrameType | None], None], *, even_ignored: Collection[int] = ()
    ) -> None:
        self._receive, self._even_ignored = receive, even_ignored
        self._before: dict[int, Any] = {}
        self._reminded = False

    @property
    def installed(self) -> bool:
        """Whether a handler is replaced now."""
        return bool(self._before)

    def install(self) -> None:
        """Replace the handlers."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in STOPPING:
            handler = signal.getsignal(number)
            ignored = handler is signal.SIG_IGN and number not in self._even_ignored
            # A handler that was not installed from Python is None and could not be restored.
            if handler is not None and not ignored:
                self._before[number] = handler
                signal.signal(number, self._receive)

    def restore(self) -> None:
        """Put the replaced handlers back."""
        while self._before:
            signal.signal(*self._before.popitem())

    def pass_on(self, number: int, frame: FrameType | None) -> None:
        """Treat a signal as it would be treated without these handlers, which stay."""
        before = self._before.get(number, signal.SIG_DFL)
        if callable(before):
            before(number, frame)
        elif before is signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)  # which ends the process

    def remind_after(self, seconds: float) -> threading.Timer:
        """Have the main thread receive a signal again after a time, unless handlers are restored by then."""
        return _later(seconds, self._remind)

    def take_reminder(self) -> bool:
        """Return whether the signal that is received now is one of `remind_after`, and forget it."""
        reminded, self._reminded = self._reminded, False
        return reminded

    def _remind(self) -> None:
        if self._before:
            self._reminded = True
            signal.pthread_kill(threading.main_thread().ident or 0, next(iter(self._before)))


class Stopping:
    """The receipt of the signals while a command is carried out, as a context manager.

    The first signal raises a `KeyboardInterrupt`, so that unfinished files are removed on its way; where that
    would be lost, and during an import, it is raised later, if that takes no more than two seconds. Signals
    within one second count as one. A later one, or eight seconds without an end, end the process at once.
    Outside the main thread, this context does nothing.

    `received` is the first signal. `deferred` says that it has not been raised yet, which is left to whoever
    ends the context before.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.deferred = False
        self._first = 0.0
        self._handlers = Handlers(self._receive)

    def __enter__(self) -> Self:
        self._handlers.install()
        return self

    def __exit__(self, *_: object) -> None:
        self._handlers.restore()

    @property
    def line(self) -> str:
        """What is said about a command that was stopped."""
        return f"Stopped by {_name(self.received or signal.SIGINT)}. No file is left unfinished."

    def _receive(self, number: int, frame: FrameType | None) -> None:
        reminded = self._handlers.take_reminder()
        if self.received is None:
            self.received, self._first = number, time.monotonic()
            _later(_SECONDS_TO_END, self._give_up)
        elif not reminded:
            if time.monotonic() - self._first > ONE_SIGNAL_SECONDS:
                self._give_up()
            return
        self.deferred = _imports(frame) or swallows(frame)
        if not self.deferred:
            raise KeyboardInterrupt
        if time.monotonic() - self._first > _SECONDS_TO_IMPORT:
            _exit(self.line)
        self._handlers.remind_after(SECONDS_TO_LOOK)

    def _give_up(self) -> None:
        if self._handlers.installed:
            _exit(
                f"Stopped by {_name(self.received or signal.SIGINT)} at once. Unfinished files may be left."
            )


def _imports(frame: FrameType | None) -> bool:
    """Return whether a frame is part of an import, which may not be broken off halfway."""
    while frame is not None:
        if frame.f_code.co_filename == _IMPORT:
            return True
        frame = frame.f_back
    return False


def swallows(frame: FrameType | None) -> bool:
    """Return whether an exception would be lost in a frame: in a function that libsndfile calls.

    The recording would then be taken for a damaged one, or the file for one that cannot be written.
    """
    while frame is not None:
        code = frame.f_code
        if code.co_name.startswith("vio_") and code.co_filename.endswith("soundfile.py"):
            return True
        frame = frame.f_back
    return False


def _later(seconds: float, function: Callable[[], None]) -> threading.Timer:
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()
    return timer


def _name(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def _exit(line: str) -> NoReturn:
    with suppress(OSError):  # of a terminal that is gone
        # A progress bar that is left behind has hidden the cursor.
        animated = os.isatty(2) and os.environ.get("TERM", "dumb") != "dumb"
        os.write(2, f"{_CLEARED if animated else ''}{line}\n".encode())
    os._exit(INTERRUPTED)

"""Stopping a training run by SIGINT (Ctrl-C), SIGTERM or SIGHUP without losing a step."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType, TracebackType
from typing import Self

from distill.storage.run import Run
from distill.system.stopping import ONE_SIGNAL_SECONDS, SECONDS_TO_LOOK, Handlers, swallows

_SECONDS_FOR_A_STEP = 4.0
"""So long after a signal, the step under way is cut short, if that is possible."""

_SECONDS_TO_FINISH = 6.0
"""So long after a signal, results are still computed. To write them and to end takes the rest of 10 s."""

_HANG_UP: signal.Signals | None = getattr(signal, "SIGHUP", None)  # None on Windows


class Interrupted(KeyboardInterrupt):
    """Raised when SIGINT, SIGTERM or SIGHUP stopped a training run, after its state was saved.

    It is a `KeyboardInterrupt`, so that Ctrl-C stops a notebook or a script as usual. `run` is the run that
    was saved at `step`. `distill.train(resume=True, out=...)` continues from there.
    """

    def __init__(self, run: Run, step: int) -> None:
        super().__init__(
            f"interrupted at step {step}, and saved. Go on with distill.train(..., resume=True, "
            f"out={str(run.folder)!r})"
        )
        self.run, self.step = run, step


class Stopped(KeyboardInterrupt):
    """Raised by a signal where there is no step to finish first."""


class Signals:
    """The receipt of SIGINT, SIGTERM and SIGHUP, as a context manager.

    The first signal raises `Stopped` at once or, within `noting`, is noted. Within `cuttable`, it is raised
    after a few seconds, so that a step that hangs cannot swallow it. A later signal is treated as it would be
    outside this context. Signals within one second count as one, since a launcher and its cluster
    may both forward the same signal. A SIGHUP that the process ignores, as under nohup, stays ignored.

    Outside the main thread, where Python handles no signals, this context does nothing.
    """

    def __init__(self) -> None:
        self._first: float | None = None
        self._raising = True
        self._cuttable = False
        self._deferred = False
        # A training run in the background of a shell, where SIGINT is ignored, saves at `kill -INT` as well.
        self._handlers = Handlers(self._receive, even_ignored=(signal.SIGINT, signal.SIGTERM))

    @property
    def received(self) -> bool:
        """Whether a signal was received."""
        return self._first is not None

    def seconds_left(self) -> float:
        """Return the seconds left to compute results after a signal; infinity if there was none."""
        return float("inf") if self._first is None else self._first + _SECONDS_TO_FINISH - time.monotonic()

    def note(self) -> None:
        """Note a stop that another process was told of."""
        self._first = time.monotonic() if self._first is None else self._first

    def check(self) -> None:
        """Raise `Stopped` if a signal was received: what it raised may have been lost in a destructor."""
        if self.received:
            raise Stopped

    @contextmanager
    def noting(self) -> Iterator[None]:
        """Note signals in this context instead of raising. At its end, `Stopped` is raised for one.

        Raises:
            Stopped: a signal was received, and nothing else was raised.
        """
        self._raising = False
        try:
            with nullcontext() if self._handlers.installed else self:
                yield
        finally:
            self._raising = True
        self.check()

    @contextmanager
    def cuttable(self) -> Iterator[None]:
        """Cut this context short, within `noting`, if it goes on for seconds after a signal.

        Raises:
            Stopped: it was cut short.
        """
        self._cuttable = True
        try:
            yield
        finally:
            self._cuttable = False

    def within_time(self, compute: Callable[[], None]) -> bool:
        """Call a function in the time that is left after a signal, and return whether it was completed.

        It is cut short between two instructions of Python, or not called at all if no time is left.
        """
        left = self.seconds_left()
        if left <= 0:
            return False
        timer = self._handlers.remind_after(left) if math.isfinite(left) else None
        try:
            with self.cuttable():
                compute()
        except Stopped:
            return False
        finally:
            if timer is not None:
                timer.cancel()
        return True

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self._handlers.take_reminder():
            if self._cuttable or (self._deferred and self._raising):
                self._raise(frame)
            return
        now = time.monotonic()
        if self._first is not None:
            if now - self._first > ONE_SIGNAL_SECONDS:
                self._handlers.pass_on(number, frame)
            return
        self._first = now
        if self._raising:
            self._raise(frame)
        else:
            self._handlers.remind_after(_SECONDS_FOR_A_STEP)

    def _raise(self, frame: FrameType | None) -> None:
        """Raise `Stopped`, or a moment later where it would be lost."""
        self._deferred = swallows(frame)
        if not self._deferred:
            raise Stopped
        self._handlers.remind_after(SECONDS_TO_LOOK)

    def __enter__(self) -> Self:
        self._handlers.install()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handlers.restore()


def hang_up() -> None:
    """Stop a training run as SIGHUP does, if one is in progress and not told to ignore SIGHUP."""
    if _HANG_UP is None:
        return
    if isinstance(getattr(signal.getsignal(_HANG_UP), "__self__", None), Signals):
        signal.raise_signal(_HANG_UP)

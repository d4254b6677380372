"""Stopping a training run by SIGINT (Ctrl-C) or SIGTERM without losing a step."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from distill.storage.run import Run

_ONE_SIGNAL_SECONDS = 1.0


class Interrupted(KeyboardInterrupt):
    """Raised when SIGINT or SIGTERM stopped a training run, after its state was saved.

    It is a `KeyboardInterrupt`, so that Ctrl-C stops a notebook or a script as usual. `run` is the run that
    was saved at `step`. `distill.train(resume=True, out=...)` continues from there.
    """

    def __init__(self, run: Run, step: int) -> None:
        super().__init__(
            f"interrupted at step {step}, and saved. Go on with distill.train(..., resume=True, "
            f"out={str(run.folder)!r})"
        )
        self.run, self.step = run, step


@contextmanager
def noting_signals() -> Iterator[list[float]]:
    """Record the first SIGINT or SIGTERM without ending the process; a later one ends it as usual.

    Signals within one second count as one, since a launcher and its cluster may both forward the same signal.
    Outside the main thread, where Python handles no signals, this context does nothing.
    """
    noted: list[float] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # A handler that was not installed from Python is None and could not be restored.
    before = {number: handler for number, handler in handlers.items() if handler is not None}

    def note(number: int, _: object) -> None:
        noted.append(time.monotonic())
        if noted[-1] - noted[0] > _ONE_SIGNAL_SECONDS:
            for each, handler in before.items():
                signal.signal(each, handler)
            signal.raise_signal(number)

    try:
        for number in before:
            signal.signal(number, note)
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

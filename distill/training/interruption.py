"""How a training run is stopped from outside: by SIGINT (Ctrl-C) or SIGTERM, without losing a step."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from distill.storage.run import Run

_ONE_SIGNAL_SECONDS = 1.0


class Interrupted(KeyboardInterrupt):
    """The training was asked to stop by SIGINT or SIGTERM, and has saved itself.

    It is a `KeyboardInterrupt`, so that Ctrl-C stops a notebook or a script as it always does. `run` and
    `step` say what was saved; `distill.train(resume=True, out=...)` goes on from there.
    """

    def __init__(self, run: Run, step: int) -> None:
        super().__init__(
            f"interrupted at step {step}, and saved. Go on with distill.train(..., resume=True, "
            f"out={str(run.folder)!r})"
        )
        self.run, self.step = run, step


@contextmanager
def noting_signals() -> Iterator[list[float]]:
    """Note the first SIGINT or SIGTERM instead of dying of it; a later one ends the process as usual.

    A launcher and its cluster may both pass one on, so that what comes within a second is the same one. In a
    thread other than the main one, which Python gives no signals, nothing is done and nothing noted.
    """
    noted: list[float] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    # One that was not installed by Python is None, and could not be put back.
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

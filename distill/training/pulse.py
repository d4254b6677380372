"""Notice of a training run that makes no progress: a disk or network that hangs, or a step without end."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

_SECONDS = 60.0
"""So long without progress is said."""

_LOOK_SECONDS = 1.0


class Pulse:
    """A thread that calls `warn` once whenever nothing has moved for a minute, within a context.

    It calls `warn` and does nothing else, so that the training neither depends on it nor waits for it.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._moved, self._since, self._told = time.monotonic(), "the run began", False
        self._ended = threading.Event()

    def moved(self, since: str) -> None:
        """Note progress: what has just happened, in words that continue "since"."""
        self._moved, self._since, self._told = time.monotonic(), since, False

    def __enter__(self) -> Self:
        self.moved(self._since)
        threading.Thread(target=self._watch, name="pulse", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            if self._told or time.monotonic() - self._moved < _SECONDS:
                continue
            self._told = True
            self._warn(
                f"No progress for a minute, since {self._since}. If this continues, check the disk or "
                "network that holds the recordings, or use a smaller model or batch. Ctrl-C saves and stops."
            )

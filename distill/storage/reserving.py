"""Run folders that training runs of this process are writing to. Loads no torch."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.errors import RunError
from distill.storage.run import Run

_lock = threading.Lock()
_reserved: set[Path] = set()


@contextmanager
def reserved(choose: Callable[[frozenset[Path]], Run]) -> Iterator[Run]:
    """Reserve a run folder, so that no other thread chooses the same one before anything is written.

    `choose` returns the run, given the absolute paths of the folders that are reserved.

    Raises:
        RunError: the folder is reserved already.
    """
    with _lock:
        run = choose(frozenset(_reserved))
        folder = run.folder.resolve()
        if folder in _reserved:
            raise RunError(
                "another training run of this process is writing to it",
                culprit=str(run.folder),
                remedy="Give another folder, or wait until that run has ended.",
            )
        _reserved.add(folder)
    try:
        yield run
    finally:
        with _lock:
            _reserved.discard(folder)

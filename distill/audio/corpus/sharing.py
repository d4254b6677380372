"""Decoding by one process for all that want the same cache at the same time."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from attrs import define

from distill.errors import LockError
from distill.storage.files import is_partial
from distill.storage.locking import locked

Progress: TypeAlias = Callable[[int, int], None]

_PROGRESS = ".progress"
_LOOK_SECONDS = 0.2
_PATIENCE_SECONDS = 600.0


@define
class Decoding:
    """The decoding to a cache by this process. `alone` says whether no other process decodes to it."""

    folder: Path
    alone: bool
    _show: Progress | None
    _told: float = 0.0

    def show(self, done: int, total: int) -> None:
        """Show the number of files done and their total, here and in the processes that wait."""
        if time.monotonic() - self._told > _LOOK_SECONDS:
            self._told = time.monotonic()
            _write(self.folder, f"{done} {total}")
        if self._show is not None:
            self._show(done, total)


@contextmanager
def decoding_alone(folder: Path, show: Progress | None) -> Iterator[Decoding]:
    """Wait until no other process decodes to a cache; then let others wait.

    Progress is passed to `show`, also that of the other process. A process that has shown no progress for ten
    minutes is not waited for.

    Raises:
        OSError: the folder cannot be written.
    """
    with ExitStack() as stack:
        alone = _wait(folder, show, stack)
        if alone:
            for path in folder.iterdir():
                if is_partial(path):
                    path.unlink(missing_ok=True)
        try:
            yield Decoding(folder, alone, show)
        finally:
            with suppress(OSError):
                (folder / _PROGRESS).unlink()


def _wait(folder: Path, show: Progress | None, stack: ExitStack) -> bool:
    """Lock a folder as soon as no other process has locked it. Return whether that was worth waiting for."""
    last, since = "", time.monotonic()
    while True:
        try:
            stack.enter_context(locked(folder, doing="is decoding to it", remedy=""))
        except LockError:
            now = _read(folder)
            if now != last:
                last, since = now, time.monotonic()
                _forward(now, show)
            if time.monotonic() - since > _PATIENCE_SECONDS:
                return False
            time.sleep(_LOOK_SECONDS)
        else:
            return True


def _read(folder: Path) -> str:
    with suppress(OSError, ValueError):
        return (folder / _PROGRESS).read_text()
    return ""


def _forward(text: str, show: Progress | None) -> None:
    numbers = text.split()
    if (
        show is not None
        and len(numbers) == 2
        and all(number.isascii() and number.isdigit() for number in numbers)
    ):
        show(int(numbers[0]), int(numbers[1]))


def _write(folder: Path, text: str) -> None:
    with suppress(OSError):  # only a courtesy
        path = folder / _PROGRESS
        path.unlink(missing_ok=True)
        path.write_text(text)

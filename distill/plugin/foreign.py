"""Code of plugins, which may raise anything, and change anything of the process. Loads no torch."""

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self

from distill.system.stopping import STOPPING

_SIGNALS = tuple(signal.valid_signals())
"""All signals of the system. Python takes longer to list them than to look at their handlers."""


class _Surroundings:
    """What code of a plugin may change of the process, as it is now."""

    def __init__(self, signals: Iterable[int]) -> None:
        self.handlers: dict[int, Any] = {}
        self._folder: str | None = None
        with suppress(OSError):  # it was removed
            self._folder = os.getcwd()  # noqa: PTH109  # as a path of its own, of any encoding
        self._streams = sys.stdout, sys.stderr
        self._torch = _torch_state()
        if threading.current_thread() is threading.main_thread():
            self.handlers = {number: signal.getsignal(number) for number in signals}

    def restore(self) -> None:
        for number, handler in self.handlers.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        sys.stdout, sys.stderr = self._streams
        _restore_torch(self._torch)
        if self._folder is not None:
            with suppress(OSError):
                os.chdir(self._folder)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Restore what the code of a loss term changes of the process, as `ForeignCode` does, in each step.

    Outside the main thread, nothing is restored, since other threads may change the same meanwhile.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = _Surroundings(STOPPING)
    try:
        yield
    finally:
        before.restore()


class ForeignCode:
    """A context in which the code of a plugin is imported or built, and which leaves the process as it was.

    At its end, the working folder, signal handlers, standard streams, and torch's default dtype, default
    device and gradient mode are those of its beginning. `received` says whether a signal was received, so
    that the `KeyboardInterrupt` of Ctrl-C can be told from one that the code raises by itself.
    """

    def __init__(self) -> None:
        self.received = False
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        self._before = _Surroundings(_SIGNALS)
        for number in STOPPING:
            if callable(self._before.handlers.get(number)):
                signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._error = error
        self._before.restore()

    def raised_by_code(self, error: BaseException) -> bool:
        """Return whether the code raised an error itself, and no signal did, in the context or after it."""
        return isinstance(error, Exception) or (error is self._error and not self.received)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        self._before.handlers[number](number, frame)


def _torch_state() -> tuple[Any, Any, bool] | None:
    """Return the default dtype and device of torch, and whether gradients are enabled; None if not loaded."""
    torch: Any = sys.modules.get("torch")
    with suppress(AttributeError):  # not loaded, or not completely yet
        # `get_default_device` fails after `set_default_device(None)` before torch 2.9.
        return torch.get_default_dtype(), torch.empty(0).device, torch.is_grad_enabled()
    return None


def _restore_torch(before: tuple[Any, Any, bool] | None) -> None:
    torch, now = sys.modules.get("torch"), _torch_state()
    if torch is None or now in (None, before):
        return
    dtype, device, gradients = before or (torch.float32, torch.device("cpu"), True)
    torch.set_default_dtype(dtype)
    torch.set_grad_enabled(gradients)
    if torch.empty(0).device != device:
        # The CPU by itself: as a device that was set, it would slow down every call.
        torch.set_default_device(None if device.type == "cpu" else device)

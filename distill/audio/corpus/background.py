"""Work in a thread that nothing waits for without a limit: not a caller, nor the end of the process."""

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def begun(function: Callable[[], T]) -> "Future[T]":
    """Call a function in a thread of its own, and return the future of its result.

    The end of the process does not wait for the thread, as it does for those of an executor.
    """
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # noqa: BLE001  # raised where the result is asked for
            future.set_exception(error)

    Thread(target=work, daemon=True).start()
    return future

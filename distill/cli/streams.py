"""Standard output that may fail: on a full disk, through a closed pipe, on a terminal that is gone."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, TextIO

import click


class Output:
    """A text stream that calls `fail` for an `OSError` in writing.

    `fail` may raise another error, and does so again for what is written later. If it returns, text goes to
    the stream `instead` from then on; without one, it is lost.
    """

    def __init__(self, stream: TextIO, fail: Callable[[OSError], None], instead: TextIO | None) -> None:
        self.stream, self._fail, self._instead = stream, fail, instead
        self._error: OSError | None = None
        self._lost = False

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # whatever a stream has
        return getattr(self.stream, name)

    def close(self) -> None:
        """Write what is buffered, and stay open for the command if a plugin closes the stream."""
        self.flush()

    def detach(self) -> BinaryIO:
        """Return another stream to the same file, so that this one stays open."""
        self.flush()
        return os.fdopen(os.dup(self.stream.fileno()), "wb")

    def write(self, text: str) -> int:
        """Write text."""
        if not isinstance(text, str):  # click takes a stream that accepts bytes for a binary one
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        with self._failing(text):
            if not self._lost:
                self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered."""
        with self._failing():
            if not self._lost:
                self.stream.flush()

    @contextmanager
    def _failing(self, text: str = "") -> Iterator[None]:
        if self._error is not None:
            self._fail(self._error)
        try:
            yield
        except (OSError, ValueError) as caught:
            error = caught if isinstance(caught, OSError) else self._as_closed(caught)
            _empty(self.stream)
            self._error = error
            self._fail(error)
            self._error, self._lost = None, self._instead is None
            if self._instead is not None:
                self.stream, self._instead = self._instead, None
                self.write(text)

    def _as_closed(self, error: ValueError) -> OSError:
        """Return the error for a stream that was closed, or raise another `ValueError`."""
        if not (_is_detached(self.stream) or self.stream.closed):
            raise error
        return OSError(errno.EBADF, "it was closed")


def _is_detached(stream: TextIO) -> bool:
    """Return whether the buffer of a stream was taken from it."""
    try:
        stream.closed  # noqa: B018  # which is asked of the buffer
    except ValueError:
        return True
    return False


def _empty(stream: TextIO) -> None:
    """Discard buffered output. Python would report an error about it at exit."""
    with suppress(OSError, ValueError):  # ValueError: a stream without a file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()


class _UnwritableError(click.ClickException):
    exit_code = 2


def _refuse(error: OSError) -> None:
    if error.errno == errno.EPIPE:  # whoever read it has read enough
        raise SystemExit(1)
    raise _UnwritableError(
        f"standard output: cannot be written: {error.strerror or error}\n"
        "Send it elsewhere, or make room where it goes."
    )


def _hang_up(error: OSError) -> None:
    """Stop a training run whose output nobody reads any more, unless it ignores that as under nohup."""
    from distill.training.interruption import hang_up

    if error.errno == errno.EPIPE:
        hang_up()
    else:
        warn(f"Standard output cannot be written any more: {error.strerror or error}. The training goes on.")


@contextmanager
def checked_output() -> Iterator[None]:
    """Make an error in writing standard output one message in this context; ignore one of standard error."""
    with _replaced("stdout", _refuse), _replaced("stderr", lambda _: None):
        yield


def refusing(stream: TextIO) -> "Output":
    """Return a stream that makes an error in writing one message."""
    return Output(stream, _refuse, None)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Go on if standard output fails, in this context; stop the training as SIGHUP does if it was closed."""
    with _replaced("stdout", _hang_up, instead=sys.stderr):
        yield


@contextmanager
def _replaced(name: str, fail: Callable[[OSError], None], instead: TextIO | None = None) -> Iterator[None]:
    before = getattr(sys, name)
    stream = before.stream if isinstance(before, Output) else before
    setattr(sys, name, Output(stream, fail, instead))
    try:
        yield
    finally:
        # Python would report an error at exit about a stream without a buffer.
        setattr(sys, name, None if _is_detached(stream) else before)


def warn(message: str) -> None:
    """Print a warning on standard error, if it can be written."""
    with suppress(OSError):
        click.secho(f"Warning: {message}", fg="yellow", err=True)

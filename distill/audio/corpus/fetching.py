"""Opening of the files of a sharded corpus, in a folder or at a URL, with limits of time and size.

Files over HTTP are read by Python itself: a server that answers nothing, or hardly anything, is left after
half a minute. What the tools and libraries of others fetch has to arrive within a time, too.
"""

import os
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryFile
from types import ModuleType
from typing import Any, Protocol, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from distill.arguments import is_url
from distill.audio.corpus.background import begun
from distill.errors import CorpusError

T = TypeVar("T")

SCHEMES = ("http", "https", "gs", "hf")
"""WebDataset knows more, among them `pipe:`, with which a recipe could run any command."""

_SILENCE = 30.0
"""Seconds without an answer after which a server is left."""

_SILENCE_OF_TOOLS = 60.0
"""Seconds without a byte after which a tool or library that fetches a file is left."""

_SLOWEST = 1000
"""Bytes per second, over `_SILENCE` seconds, below which a server is left."""

_PAUSES = (1.0, 4.0, 15.0)
"""Seconds between attempts to open a file of a corpus that is being trained on."""

_BLOCK = 2**16


class Readable(Protocol):
    """A file that is read from its beginning to its end."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, and none at the end."""


@contextmanager
def opened(location: str, name: str, *, most: int, patient: bool = False) -> Iterator[Readable]:
    """Open a file of a corpus. More than `most` bytes are not read.

    Args:
        location: a folder or URL.
        name: the name of the file in it.
        most: the largest size.
        patient: whether to try several times.

    Raises:
        OSError: the file cannot be opened or read. Its `strerror` says why.
        CorpusError: what reads this kind of URL is not installed.
        ValueError: the file is larger than `most`.
    """
    if not is_url(location):
        path = Path(location, name)
        if not stat.S_ISREG(path.stat().st_mode):
            raise _failure("it is not an ordinary file")
        with path.open("rb") as file:
            yield _Limited(file, most)
        return
    url = f"{location}/{name}"
    is_http = urlsplit(url).scheme in {"http", "https"}
    with closing(_Watched(_request(url, patient=patient)) if is_http else _open_elsewhere(url)) as file:
        yield _Limited(file, most)


def webdataset() -> ModuleType:
    """Import and return WebDataset, an optional dependency.

    Raises:
        CorpusError: WebDataset is not installed.
    """
    try:
        import webdataset as installed  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise CorpusError(
            "a sharded corpus needs WebDataset, which is not installed",
            culprit="webdataset",
            remedy='Install it: pip install "distill[shards]"',
        ) from error
    return installed


def _failure(cause: str) -> OSError:
    return OSError(0, cause)


class _Limited:
    """A file of which at most `most` bytes are read."""

    def __init__(self, file: Readable, most: int) -> None:
        self._file, self._left, self._most = file, most, most

    def read(self, size: int, /) -> bytes:
        block = self._file.read(min(size, self._left + 1))
        self._left -= len(block)
        if self._left < 0:
            msg = f"the file has more than {self._most} bytes"
            raise ValueError(msg)
        return block


class _Watched:
    """A response of a server, which has to arrive at a least pace."""

    def __init__(self, response: Any) -> None:  # noqa: ANN401  # urllib has no type for it
        self._response = response
        self._waited, self._received = 0.0, 0

    def read(self, size: int, /) -> bytes:
        parts: list[bytes] = []
        while size:
            began = time.monotonic()
            with _explained():
                part: bytes = self._response.read1(min(size, _BLOCK))
            if not part:
                break
            parts.append(part)
            size -= len(part)
            self._check_pace(time.monotonic() - began, len(part))
        return b"".join(parts)

    def close(self) -> None:
        self._response.close()

    def _check_pace(self, waited: float, received: int) -> None:
        self._waited, self._received = self._waited + waited, self._received + received
        if self._waited > _SILENCE:
            if self._received < _SLOWEST * self._waited:
                raise _failure(f"the server sends less than {_SLOWEST} bytes per second")
            self._waited, self._received = 0.0, 0


@contextmanager
def _explained() -> Iterator[None]:
    """Turn an error of urllib into an `OSError` whose `strerror` says what happened."""
    try:
        yield
    except HTTPError as error:
        error.close()
        raise _failure(f"the server answers {error.code} {error.reason}") from error
    except TimeoutError as error:
        raise _failure(f"the server does not answer within {_SILENCE:g} seconds") from error
    except URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _failure(f"the server does not answer within {_SILENCE:g} seconds") from error
        cause = getattr(error.reason, "strerror", None) or error.reason
        raise _failure(f"the server cannot be reached: {cause}") from error
    except OSError as error:
        raise _failure(f"the connection broke: {error.strerror or error}") from error
    except (HTTPException, ValueError) as error:
        raise _failure(f"the server cannot be understood: {error or type(error).__name__}") from error


def _request(url: str, *, patient: bool) -> Any:  # noqa: ANN401  # as above
    """Send a request and return the response, after several attempts if `patient`."""
    opener = OpenerDirector()  # urllib's default would also follow a redirect to another protocol
    for handler in (
        ProxyHandler,
        HTTPHandler,
        HTTPSHandler,
        HTTPRedirectHandler,
        HTTPErrorProcessor,
        HTTPDefaultErrorHandler,
    ):
        opener.add_handler(handler())
    for pause in (*(_PAUSES if patient else ()), None):
        try:
            with _explained():
                return opener.open(Request(url, headers={"User-Agent": "distill"}), timeout=_SILENCE)  # noqa: S310  # http only
        except OSError as error:
            cause = error.__cause__
            refused = isinstance(cause, HTTPError) and cause.code < 500  # the client's fault
            if pause is None or refused:
                raise
            time.sleep(pause)
    return None


def _open_elsewhere(url: str) -> "_Timed":
    """Open a file at Google with its own tool, or at Hugging Face with what WebDataset has for it."""
    if urlsplit(url).scheme == "gs":
        return _Timed(lambda: _OfTool(url))
    gopen = webdataset().gopen
    try:
        return _Timed(lambda: gopen(url))
    except ImportError as error:
        raise CorpusError(
            f"needs {error.name}, which is not installed",
            culprit=url,
            remedy=f"Install it: pip install {error.name}",
        ) from error
    except OSError:
        raise
    except Exception as error:  # whatever the libraries of others raise
        raise _failure(f"it cannot be fetched: {type(error).__name__}: {error}") from error


class _Timed:
    """A file that a library or tool of others fetches, each part of which has to arrive within a time."""

    def __init__(self, opening: Callable[[], Any]) -> None:
        self._file: Any = None
        self._file = self._in_time(opening)

    def read(self, size: int, /) -> bytes:
        parts: list[bytes] = []
        while size:
            part: bytes = self._in_time(lambda: self._file.read(min(size, _BLOCK)))  # noqa: B023  # called at once
            if not part:
                break
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        self._file.close()

    def _in_time(self, call: Callable[[], T]) -> T:
        future = begun(call)
        try:
            return future.result(timeout=_SILENCE_OF_TOOLS)
        except TimeoutError as error:
            if future.done():  # it is the library's own
                raise
            if isinstance(self._file, _OfTool):
                self._file.close()
            raise _failure(f"nothing arrives within {_SILENCE_OF_TOOLS:g} seconds") from error


class _OfTool:
    """The output of gsutil, whose end is not waited for."""

    def __init__(self, url: str) -> None:
        program = shutil.which("gsutil")
        if program is None:
            raise CorpusError(
                "needs gsutil, which is not installed",
                culprit=url,
                remedy="Install the Google Cloud CLI, or use a copy in a folder or at an https:// URL.",
            )
        self._errors = TemporaryFile()  # noqa: SIM115  # closed with the process
        self._process = subprocess.Popen(  # noqa: S603  # no shell, and the URL is an argument
            [program, "cat", url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,  # so that it can be ended with the processes that it starts
        )
        self._output: Any = self._process.stdout

    def read(self, size: int, /) -> bytes:
        part: bytes = self._output.read1(size)
        if not part and self._process.wait():
            self._errors.seek(0)
            said = self._errors.read().decode(errors="replace").strip().splitlines()
            raise _failure(f"gsutil cannot fetch it: {said[-1] if said else 'it does not say why'}")
        return part

    def close(self) -> None:
        # One of its processes that lives on would hold the pipe open, and a thread that reads from it.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._errors.close()
        self._output.close()

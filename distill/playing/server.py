"""The server of the page: on the loopback address, in a thread, until it is stopped."""

import errno
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from attrs import frozen

from distill.errors import InputError
from distill.playing.guard import Application, Guard

ADDRESS = "127.0.0.1"

FIRST_PORT = 7860
"""Gradio's own, from which on a free one is taken."""

_TRIED, _SECONDS_TO_STOP = 100, 2

_ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_SHARE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
}
"""What keeps Gradio and the libraries that it imports off the network."""


@frozen(kw_only=True)
class Served:
    """A page that is served: its address, the folder of its files, and a note on its sounds, or none."""

    url: str
    files: Path
    note: str = ""


@contextmanager
def serving(make: Callable[[Path], Application], *, port: int | None = None) -> Iterator[Served]:
    """Serve an application on the loopback address while the context lasts.

    `make` returns the application. It is called with the folder for its files, which is removed at the end.

    Raises:
        InputError: the port is taken, or may not be used.
    """
    with _quiet_environment() as files, _listening(port) as listener:
        import uvicorn  # noqa: PLC0415  # comes with Gradio

        number = listener.getsockname()[1]
        server = uvicorn.Server(
            uvicorn.Config(
                Guard(make(files), port=number, files=files),
                log_level="critical",
                access_log=False,
                server_header=False,
                lifespan="on",
                timeout_graceful_shutdown=_SECONDS_TO_STOP,
            )
        )
        # In a thread, where it leaves signals to whoever started it.
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True, name="distill play")
        thread.start()
        try:
            while not server.started and thread.is_alive():
                thread.join(0.01)
            yield Served(url=f"http://{ADDRESS}:{number}/", files=files)
        finally:
            server.should_exit = True
            thread.join()


@contextmanager
def _listening(port: int | None) -> Iterator[socket.socket]:
    wanted = range(FIRST_PORT, FIRST_PORT + _TRIED) if port is None else [port]
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # after a server that has just stopped
        for number in wanted:
            try:
                listener.bind((ADDRESS, number))
                listener.listen(128)
                break
            except OSError as error:
                if number != wanted[-1] and error.errno == errno.EADDRINUSE:
                    continue
                raise InputError(
                    f"{number} cannot be used on {ADDRESS}: {error.strerror}",
                    culprit="port",
                    remedy="Choose another one, or leave it out for the next free one.",
                ) from error
        yield listener


@contextmanager
def _quiet_environment() -> Iterator[Path]:
    """Set what Gradio reads from the environment, while the context lasts; return the folder of its files."""
    with tempfile.TemporaryDirectory(prefix="distill-play-", ignore_cleanup_errors=True) as folder:
        files = Path(folder).resolve()
        settings = {**_ENVIRONMENT, "GRADIO_TEMP_DIR": str(files)}
        before = {name: os.environ.get(name) for name in settings}
        os.environ.update(settings)
        try:
            yield files
        finally:
            for name, value in before.items():
                with suppress(KeyError):
                    if value is None:
                        del os.environ[name]
                    else:
                        os.environ[name] = value

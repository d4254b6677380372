"""A middleware in front of Gradio's application that refuses requests which the page does not need.

A page of another site can send requests to this machine, also under a name of its own that it points here
(DNS rebinding). Requests must therefore name this server, and come from its own page. Of Gradio's routes,
only those that the page needs can be reached, and of files only those in the folder of the session.
"""

import os
import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import urlsplit

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_LOCAL = ("127.0.0.1", "localhost")

_ROUTES = re.compile(
    r"/|/config/?|/(assets|static|svelte)/[\w./@-]+|/theme\.css|/favicon\.ico|/manifest\.json|/pwa_icon(/\d+)?"
    r"|/gradio_api/(info/?|startup-events|theme\.css|queue/(join|data)|run/predict/?|heartbeat/\w+|reset/?|cancel"
    r"|upload|upload_progress|component_server)"
)
"""Gradio's routes that the page needs, besides files."""

_FILE = "/gradio_api/file="

_POLICY = "; ".join(  # noqa: FLY002  # a line for each
    [
        "default-src 'self'",
        "script-src 'self' 'unsafe-inline' 'unsafe-eval'",  # Gradio compiles its templates
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "media-src 'self' data: blob:",
        "font-src 'self' data:",
        "worker-src 'self' blob:",
        "connect-src 'self' data: blob:",
        "object-src 'none'",
        "base-uri 'self'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)

_HEADERS = (
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Guard:
    """An ASGI application that passes the requests of the page on to another one, and refuses all others.

    Args:
        application: Gradio's application.
        port: the port of the server.
        files: the folder whose files can be read.
    """

    def __init__(self, application: Application, *, port: int, files: Path) -> None:
        self._application = application
        self._hosts = {f"{host}:{port}" for host in _LOCAL}
        self._files = files.resolve()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":  # the page opens no web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        status, problem = self._refusal(scope)
        if problem:
            await _refuse(send, status, problem)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        await self._application(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str]:
        """Return the status and the reason for which a request is refused, if it is."""
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key = name.decode("latin-1").lower()
            if key in headers and key in ("host", "origin"):
                return 400, f"more than one {key}"
            headers[key] = value.decode("latin-1")
        if headers.get("host", "").lower() not in self._hosts:
            return 403, "the request names another host"
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin):
            return 403, "the request comes from another site"
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return 403, "the request comes from another site"
        path = scope["path"]
        if path.startswith(_FILE):
            return (0, "") if self._may_read(path.removeprefix(_FILE)) else (403, "no file of this page")
        return (0, "") if _ROUTES.fullmatch(path) and ".." not in path else (404, "no part of this page")

    def _is_own(self, origin: str) -> bool:
        parts = urlsplit(origin)
        return parts.scheme == "http" and parts.netloc.lower() in self._hosts

    def _may_read(self, name: str) -> bool:
        """Return whether a path is that of a file in the folder of the session, and not a link."""
        if "\0" in name or not os.path.isabs(name):  # noqa: PTH117  # a string from outside
            return False
        path = Path(name)
        if ".." in path.parts or self._files not in path.parents:
            return False
        return Path(os.path.realpath(path)) == path and path.is_file()


async def _refuse(send: Send, status: int, problem: str) -> None:
    body = f"Refused: {problem}.\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *_HEADERS]})
    await send({"type": "http.response.body", "body": body})

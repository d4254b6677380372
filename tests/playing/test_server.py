"""Tests of what the page's server answers and refuses, with requests as they are sent."""

import http.client
import json
import socket
from urllib.parse import urlsplit

import pytest

from distill.errors import InputError
from distill.playing.server import ADDRESS, serving


@pytest.fixture
def ask(page):
    """Return a function that sends a request; path and headers are sent as they are given."""
    port = urlsplit(page.url).port

    def send(path, method="GET", body=None, **headers):
        connection = http.client.HTTPConnection(ADDRESS, port, timeout=60)
        connection.putrequest(method, path, skip_host=True)
        headers = {"Host": f"{ADDRESS}:{port}", **{key.replace("_", "-"): headers[key] for key in headers}}
        if body is not None:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, content.decode(), response.headers

    return send


def test_the_page_names_no_other_machine_to_load_from(ask):
    """The page loads nothing from other machines and forbids it; the name of the run is text."""
    status, page, headers = ask("/")
    assert status == 200
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    for outside in ("fonts.googleapis", "fonts.gstatic", "cdnjs", "jsdelivr", "unpkg"):
        assert outside not in page
    config = json.loads(ask("/config")[1])
    assert config["analytics_enabled"] is False
    assert "<b>run" not in json.dumps([each["props"].get("value") for each in config["components"]])


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=../../etc/passwd",
        "/gradio_api/file=FILES/../../../etc/passwd",
        "/gradio_api/file=FILES%2f..%2f..%2f..%2fetc%2fpasswd",
        "/gradio_api/file=RUN/secret",
        "/gradio_api/file=RUN/recipe.toml",
        "/gradio_api/file=FILES/link",
        "/gradio_api/file=FILES",
        "/gradio_api/file=http://127.0.0.1:1/",
        "/gradio_api/file=FILES/a%00",
        "/gradio_api/file/etc/passwd",
        "/file=/etc/passwd",
        "/static/../../../../etc/passwd",
        "/assets/%2e%2e/%2e%2e/gradio.js",
        "/gradio_api/proxy=http://127.0.0.1:1/",
        "/gradio_api/dev/reload",
        "/monitoring",
        "/gradio_api/vibe-code",
    ],
)
def test_no_other_file_and_no_other_route(ask, page, played, path):
    """No other file is served by absolute path, by `..` or through a link, and no other server is asked."""
    link = page.files / "link"
    if not link.is_symlink():
        link.symlink_to("/etc/passwd")
    quoted = str(played.folder).replace(" ", "%20").replace("<", "%3C").replace(">", "%3E")
    status, answer, _ = ask(path.replace("FILES", str(page.files)).replace("RUN", quoted))
    assert status in (403, 404)
    assert answer.startswith("Refused: no ")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:7860"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_other_sites_are_refused(ask, headers):
    """A request is refused if its host or its origin is another site."""
    for path, method in (("/", "GET"), ("/gradio_api/queue/join", "POST")):
        status, answer, answered = ask(path, method, b"{}" if method == "POST" else None, **headers)
        assert status == 403
        assert answer.startswith("Refused: the request ")
        assert "Access-Control-Allow-Origin" not in answered


async def _empty(scope, receive, send):
    """Answer to nothing, as an application that is never asked."""
    while scope["type"] == "lifespan":
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def test_a_taken_port_is_one_message():
    """A taken port is refused if it was asked for; otherwise the next free one is used."""
    pytest.importorskip("uvicorn", reason="needs the extra distill[play]")
    with serving(lambda _: _empty) as first, serving(lambda _: _empty) as second:
        ports = [urlsplit(each.url).port for each in (first, second)]
        assert ports[0] < ports[1]
        with pytest.raises(InputError) as caught, serving(lambda _: _empty, port=ports[0]):
            pass
    assert str(caught.value) == (
        f"port: {ports[0]} cannot be used on 127.0.0.1: Address already in use\n"
        "Choose another one, or leave it out for the next free one."
    )
    assert not first.files.exists()
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind((ADDRESS, ports[0]))

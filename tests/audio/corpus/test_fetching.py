"""Tests of distill.audio.corpus.fetching: servers that keep a reader waiting, or never end."""

import os
import socket
import threading
import time

import pytest

from distill.audio.corpus import fetching, open_shards
from distill.errors import CorpusError

CHECK = "Check the URL and the connection. A training run goes on with --resume."


@pytest.fixture
def serve():
    """Return a function that answers each request with what a function sends; it returns the URL."""
    sockets = []

    def start(answer):
        listening = socket.create_server(("127.0.0.1", 0))
        sockets.append(listening)

        def accept():
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

        def talk(connection):
            with connection:
                connection.recv(4096)
                try:
                    answer(connection)
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield start
    for each in sockets:
        each.shutdown(socket.SHUT_RDWR)
        each.close()


def silent(connection):
    """Say nothing until the other side leaves."""
    connection.recv(1)


def dripping(connection):
    """Send one byte after the other."""
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    while True:
        connection.sendall(b" ")
        time.sleep(0.02)


def endless(connection):
    """Send without end."""
    connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
    while True:
        connection.sendall(b" " * 2**20)


def redirecting(connection):
    """Send the reader to a file of its own machine."""
    connection.sendall(b"HTTP/1.0 302 Found\r\nLocation: file:///etc/hostname\r\n\r\n")


def talking_nonsense(connection):
    """Answer in no protocol."""
    connection.sendall(b"\0\xff\n" * 100)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (silent, "the server does not answer within 0.3 seconds"),
        (dripping, "the server sends less than 1000 bytes per second"),
        (
            redirecting,
            "the server answers 302 Found - Redirection to url 'file:///etc/hostname' is not allowed",
        ),
        (talking_nonsense, "the server cannot be understood: "),
    ],
)
def test_a_server_is_not_waited_for(serve, answer, cause, monkeypatch):
    """A server that is silent or answers wrongly is given up in time, and one message says what it did."""
    monkeypatch.setattr(fetching, "_SILENCE", 0.3)
    url = serve(answer)
    with pytest.raises(CorpusError) as caught:
        open_shards(url, sample_rate=8000, pool_shards=1)
    said = caught.value.problem
    assert said.startswith(f"the list of shards cannot be read: {cause}")
    assert caught.value.remedy == CHECK


def test_an_endless_list_is_left(serve, monkeypatch):
    """A list of shards is read only up to the longest length that a list may have."""
    monkeypatch.setattr("distill.audio.corpus.shards._LONGEST_MANIFEST", 2**22)
    with pytest.raises(CorpusError, match="the list of shards is damaged"):
        open_shards(serve(endless), sample_rate=8000, pool_shards=1)


def test_nobody_listens():
    """The message says that the server refuses the connection, whether curl is installed or not."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(CorpusError) as caught:
        open_shards(f"http://127.0.0.1:{port}", sample_rate=8000, pool_shards=1)
    assert str(caught.value) == (
        f"http://127.0.0.1:{port}/shards.json: the list of shards cannot be read: the server cannot be "
        f"reached: Connection refused\n{CHECK}"
    )


def test_a_tool_that_is_missing_is_named(monkeypatch):
    """The message names gsutil, which reads Google's storage and is not installed, and the remedy."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(CorpusError) as caught:
        open_shards("gs://bucket/shards", sample_rate=8000, pool_shards=1)
    assert str(caught.value) == (
        "gs://bucket/shards/shards.json: needs gsutil, which is not installed\n"
        "Install the Google Cloud CLI, or use a copy in a folder or at an https:// URL."
    )


@pytest.fixture
def gsutil(tmp_path, monkeypatch):
    """Install a tool in the place of Google's, which is a script."""

    def install(script):
        path = tmp_path / "gsutil"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return install


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("sleep 60", "nothing arrives within 0.3 seconds"),
        ("echo {; sleep 60", "nothing arrives within 0.3 seconds"),
        ("echo 'Retrying' >&2; echo 'No such bucket' >&2; exit 1", "gsutil cannot fetch it: No such bucket"),
    ],
)
def test_a_tool_is_not_waited_for(gsutil, monkeypatch, script, cause):
    """A tool that sends nothing is stopped with its child processes; one that fails has its error named."""
    monkeypatch.setattr(fetching, "_SILENCE_OF_TOOLS", 0.3)
    gsutil(script)
    begun = time.monotonic()
    with pytest.raises(CorpusError) as caught:
        open_shards("gs://bucket/shards", sample_rate=8000, pool_shards=1)
    assert str(caught.value) == (
        f"gs://bucket/shards/shards.json: the list of shards cannot be read: {cause}\n{CHECK}"
    )
    assert time.monotonic() - begun < 30


def test_a_tool_gives_what_it_is_asked_for(gsutil):
    """A tool's output is read to its end, and the tool gets the URL as one argument."""
    gsutil('echo "$1 $2"; sleep 0.1; echo more')
    with fetching.opened("gs://bucket/a b", "a.tar", most=100) as file:
        assert file.read(100) == b"cat gs://bucket/a b/a.tar\nmore\n"


def test_a_shard_is_asked_for_again(serve, monkeypatch):
    """A shard is requested again when the server is overloaded for a moment."""
    monkeypatch.setattr(fetching, "_PAUSES", (0.01, 0.01))
    answers = [b"HTTP/1.0 503 Busy\r\n\r\n", b"HTTP/1.0 200 OK\r\n\r\nhere"]

    def busy_at_first(connection):
        connection.sendall(answers.pop(0))

    with fetching.opened(serve(busy_at_first), "a.tar", most=10, patient=True) as file:
        assert file.read(10) == b"here"

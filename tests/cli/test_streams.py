"""Tests of distill.cli.streams: standard output on a full disk, through a closed pipe, without a terminal."""

import errno
import io
import os
import signal
import sys

import click
import pytest

from distill.cli import main
from distill.cli.streams import checked_output, lasting_output
from distill.training.interruption import Signals, Stopped


class Broken(io.StringIO):
    """A stream that fails after some lines."""

    def __init__(self, number, lines):
        super().__init__()
        self.number, self.lines = number, lines

    def write(self, text):
        """Write it, or fail."""
        if self.getvalue().count("\n") >= self.lines:
            raise OSError(self.number, os.strerror(self.number))
        return super().write(text)


@pytest.fixture
def broken(monkeypatch):
    """Have a standard output that breaks."""

    def broken(number, lines=2):
        monkeypatch.setattr(sys, "stdout", Broken(number, lines))
        return sys.stdout

    return broken


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_output_that_cannot_be_written_stops_no_training(broken, capsys, number):
    """The training goes on after one warning, and later output goes to standard error."""
    stream = broken(number)
    with lasting_output(), Signals() as signals:
        for line in range(5):
            print(line)  # noqa: T201  # as any code does
        assert not signals.received
    assert sys.stdout is stream
    assert stream.getvalue() == "0\n1\n"
    assert capsys.readouterr().err == (
        f"Warning: Standard output cannot be written any more: {os.strerror(number)}. The training goes on.\n"
        "2\n3\n4\n"
    )


def test_a_closed_pipe_stops_a_training_as_a_hang_up_does(broken, capsys):
    """A training in progress ends in an orderly way when its output pipe is closed."""
    broken(errno.EPIPE, lines=0)
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with lasting_output(), pytest.raises(Stopped), Signals():
            print("1\n2\n3")  # noqa: T201  # as any code does
    finally:
        signal.signal(signal.SIGHUP, before)
    assert capsys.readouterr().err == ""


def test_other_commands_say_that_output_cannot_be_written(broken, capsys):
    """A full disk under standard output gives one message and status 2."""
    broken(errno.ENOSPC, lines=0)
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "Error: standard output: cannot be written: No space left on device\n"
        "Send it elsewhere, or make room where it goes.\n"
    )


def test_a_message_that_cannot_be_written_changes_no_status(broken, monkeypatch):
    """The status reports the error even if standard error cannot be written."""
    broken(errno.ENOSPC, lines=0)
    monkeypatch.setattr(sys, "stderr", Broken(errno.ENOSPC, 0))
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 2
    with lasting_output():
        print("1\n2")  # noqa: T201  # as any code does


def test_messages_are_lost_where_one_could_not_be_written(monkeypatch):
    """None is an error: standard error stays a stream of text, since click asks a binary one for more."""

    class Unwritable(io.TextIOWrapper):
        def write(self, text):
            if isinstance(text, bytes):
                return super().write(text)
            raise OSError(errno.EIO, "broken")

        def flush(self):
            raise OSError(errno.EIO, "broken")

        def tell(self):
            raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(sys, "stderr", Unwritable(io.BytesIO()))
    with checked_output():
        click.echo("a warning", err=True)
        click.ClickException("an error").show()


def test_other_commands_end_where_nobody_reads(broken, capsys):
    """A command whose output pipe is closed ends without a message."""
    broken(errno.EPIPE, lines=0)
    with checked_output(), pytest.raises(SystemExit) as caught:
        print("1")  # noqa: T201  # as any code does
    assert (caught.value.code, capsys.readouterr().err) == (1, "")


def test_a_stream_that_a_plugin_closes_stays_open(capsys):
    """What a command prints after that is printed."""
    with checked_output():
        sys.stdout.close()
        print("a result")  # noqa: T201  # as any code does
    assert capsys.readouterr().out == "a result\n"


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_a_stream_whose_buffer_a_plugin_takes_stays_open(monkeypatch, tmp_path, name):
    """The plugin gets another stream to the same file: `sys.stdout = TextIOWrapper(sys.stdout.detach())`."""
    path = tmp_path / "file"
    with path.open("w") as file:
        monkeypatch.setattr(sys, name, file)
        with checked_output():
            output = getattr(sys, name)
            print("before", file=output)
            with io.TextIOWrapper(output.detach(), "utf-8") as other:
                print("of the plugin", file=other)
            print("a result", file=output)
        assert getattr(sys, name) is file
    assert path.read_text() == "before\nof the plugin\na result\n"


def test_a_stream_whose_buffer_is_taken_by_another_way_is_one_message(monkeypatch, capsys):
    """`sys.__stdout__.detach()` ends no training, and Python finds no such stream at its exit."""
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO()))
    with lasting_output():
        sys.stdout.stream.detach()
        print("1\n2")  # noqa: T201  # as any code does
    assert sys.stdout is None
    assert capsys.readouterr().err == (
        "Warning: Standard output cannot be written any more: it was closed. The training goes on.\n1\n2\n"
    )


def test_a_stream_that_is_closed_by_another_way_is_one_message(monkeypatch, capsys):
    """Where the stream itself is closed, as `sys.__stdout__.close()` does, a training run goes on."""
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    sys.stdout.close()
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("Error: standard output: cannot be written: it was closed\n")
    with lasting_output():
        print("1\n2")  # noqa: T201  # as any code does
    assert capsys.readouterr().err == (
        "Warning: Standard output cannot be written any more: it was closed. The training goes on.\n1\n2\n"
    )

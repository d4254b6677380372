"""Tests of `distill play`."""

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from importlib.util import find_spec

import pytest

import distill as package
from distill.errors import InputError
from distill.playing.instrument import Instrument
from distill.storage.run import Run


def test_a_folder_that_is_no_run_is_one_message(distill, tmp_path):
    """The command ends with the exit status 2, before Gradio is needed."""
    result = distill("play", tmp_path / "none", "--no-open")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: {tmp_path / 'none'}: there is no such run folder\n"
        "Pass the folder that `distill train --out` wrote.\n"
    )


def test_gradio_is_an_extra(trained, monkeypatch):
    """The message says how to install gradio if it is missing."""
    monkeypatch.setattr("distill.playing.requirements.find_spec", lambda _: None)
    with pytest.raises(InputError) as caught:
        package.play(trained.folder)
    assert str(caught.value) == (
        'distill play: needs Gradio, which is not installed\nInstall it: pip install "distill[play]"'
    )


@pytest.mark.parametrize("port", [0, 65_536, "x"])
def test_a_port_out_of_bounds(trained, port):
    """The message names the argument."""
    with pytest.raises(InputError, match="port: "):
        package.play(trained.folder, port=port)


def test_a_run_that_is_not_finished_uses_its_last_checkpoint(trained, tmp_path):
    """A note says that the last checkpoint of an unfinished run is used."""
    run = Run(shutil.copytree(trained.folder, tmp_path / "run"))
    run.latents.unlink()
    instrument = Instrument.open(run)
    assert instrument.note == "The run is not finished: these are the sounds of its last checkpoint."
    assert len(instrument.names) > 1


SIGNALLED = """
import signal
import sys
import threading
import time

from distill import play


def send(_):
    def work():
        time.sleep(0.5)
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    threading.Thread(target=work, daemon=True).start()


signal.signal(signal.SIGINT, signal.default_int_handler)
play(sys.argv[1], open_browser=False, on_served=send)
"""
"""Serves a page, and receives a signal that does not wake the main thread, as one just before its wait."""


# Gradio is not imported here, which takes seconds: the processes do that.
@pytest.mark.skipif(find_spec("gradio") is None, reason="needs the extra distill[play]")
def test_a_signal_stops_it(measured, tmp_path):
    """The exit status is 0, and no folder is left behind."""
    words = [sys.executable, "-m", "distill", "play", measured, "--no-open"]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "temporary")}
    (tmp_path / "temporary").mkdir()
    process = subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    url = process.stdout.readline().split()[0]
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310  # of this machine
        assert answer.status == 200
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
    assert [*(tmp_path / "temporary").iterdir()] == []


@pytest.mark.skipif(find_spec("gradio") is None, reason="needs the extra distill[play]")
def test_a_signal_that_does_not_wake_it_stops_it(measured):
    """A signal that comes just before a wait is not kept until the next one."""
    ended = subprocess.run(
        [sys.executable, "-c", SIGNALLED, measured], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")

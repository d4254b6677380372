"""Tests of distill.training.pulse: a training run that makes no progress says so."""

import threading
import time

import pytest

import distill
from distill import Observer
from distill.training.pulse import Pulse

MESSAGE = (
    "No progress for a minute, since {}. If this continues, check the disk or network that holds the "
    "recordings, or use a smaller model or batch. Ctrl-C saves and stops."
)


@pytest.fixture
def fast(monkeypatch):
    """Let a minute last for a tenth of a second."""
    monkeypatch.setattr("distill.training.pulse._SECONDS", 0.1)


@pytest.mark.usefixtures("fast")
def test_a_standstill_is_said_once():
    """A standstill is reported once until the next progress, and never after the end."""
    told = []
    with Pulse(told.append) as pulse:
        for number in range(8):
            pulse.moved(f"step {number} ended")
            time.sleep(0.02)
        assert told == []
        time.sleep(0.3)
        assert told == [MESSAGE.format("step 7 ended")]
        pulse.moved("step 8 ended")
        time.sleep(0.2)
    assert told[1:] == [MESSAGE.format("step 8 ended")]
    time.sleep(0.01)
    assert "pulse" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.usefixtures("fast")
def test_a_run_says_that_it_stands_still(arrays, tiny_options, tmp_path):
    """A run reports a standstill in any phase, here while the observer takes long."""

    class Slow(Observer):
        def __init__(self):
            self.told = []

        def record(self, record):
            if (record.step, record.split) == (2, "train"):
                time.sleep(0.3)

        def warning(self, warning):
            self.told.append((warning.about, str(warning)))

    slow = Slow()
    distill.train(arrays, loss="recon", steps=2, options=tiny_options, out=tmp_path / "run", observer=slow)
    assert ("progress", MESSAGE.format("step 2 ended")) in slow.told

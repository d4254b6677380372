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
    monkeypatch.setattr("distill.training.pulse._LOOK_SECONDS", 0.001)


class Clock:
    """A clock that stands still, and counts how often the thread that watches a run looks at it."""

    def __init__(self):
        self.now, self.looks = 0.0, 0

    def monotonic(self):
        """Return the time."""
        self.looks += threading.current_thread().name == "pulse"
        return self.now

    def until(self, condition):
        """Wait until a condition holds."""
        for _ in range(10_000):
            if condition():
                return
            time.sleep(0.001)
        pytest.fail("nothing happened for ten seconds")

    def until_looked_at(self):
        """Wait until the thread has looked at the time twice more, so that it has drawn its conclusions."""
        before = self.looks
        self.until(lambda: self.looks >= before + 2)


def test_a_standstill_is_said_once(monkeypatch):
    """A standstill is reported once until the next progress, and never after the end."""
    clock, told = Clock(), []
    monkeypatch.setattr("distill.training.pulse._LOOK_SECONDS", 0.001)
    monkeypatch.setattr("distill.training.pulse.time", clock)
    with Pulse(told.append) as pulse:
        for number in range(3):
            clock.now += 59
            clock.until_looked_at()
            pulse.moved(f"step {number} ended")
        assert told == []
        clock.now += 60
        clock.until(lambda: told)
        clock.now += 60
        time.sleep(0.02)
        assert told == [MESSAGE.format("step 2 ended")]
        pulse.moved("step 3 ended")
        clock.until_looked_at()
        clock.now += 60
        clock.until(lambda: len(told) > 1)
    assert told[1:] == [MESSAGE.format("step 3 ended")]
    clock.until(lambda: "pulse" not in {thread.name for thread in threading.enumerate()})


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

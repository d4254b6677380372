"""Tests of distill.training.interruption: signals are noted or raised in the main thread alone."""

import io
import os
import signal
import threading
import time
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
import soundfile
from hanging import hang

from distill.storage.run import Run
from distill.system.stopping import Stopping
from distill.training.interruption import Interrupted, Signals, Stopped, hang_up

STOPPING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@contextmanager
def handled(number, handler):
    """Have a handler of a signal: a shell's background jobs are born deaf to SIGINT, for one."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


def send(number):
    """Send a signal to this process."""
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_is_raised_and_the_handler_put_back(number):
    """Each of three signals is raised; if a destructor swallows it, the next check raises it."""
    with handled(number, signal.SIG_DFL):
        with Signals() as signals:
            signals.check()
            assert not signals.received
            with pytest.raises(Stopped):
                send(number)
            with pytest.raises(Stopped):
                signals.check()
        assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.parametrize("number", STOPPING)
def test_a_signal_is_noted_while_a_step_is_under_way(number):
    """It is raised at the end at the latest, also if nothing looks; with or without a context around."""
    with handled(number, signal.SIG_DFL):
        for around in (True, False):
            signals, passed = Signals(), []

            def step(signals=signals, passed=passed):
                with signals.noting():
                    send(number)
                    passed.append(signals.received)

            with signals if around else nullcontext(), pytest.raises(Stopped):
                step()
            assert passed == [True]
        assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.parametrize(("seconds", "deaths"), [(0.9, 0), (1.1, 1)])
def test_a_second_signal_is_treated_as_elsewhere(monkeypatch, seconds, deaths):
    """A second signal has its usual effect unless it follows within a second of the first."""
    now, died = 1000.0, []
    monkeypatch.setattr("distill.training.interruption.time", SimpleNamespace(monotonic=lambda: now))
    with handled(signal.SIGTERM, lambda *_: died.append(1)), Signals() as signals:
        with suppress(Stopped), signals.noting():
            send(signal.SIGHUP)
            now += seconds
            send(signal.SIGTERM)
        assert signals.received
    assert len(died) == deaths


def test_an_ignored_hang_up_stays_ignored():
    """A hang-up that `nohup` ignores stops nothing, and neither does a closed output then."""
    with handled(signal.SIGHUP, signal.SIG_IGN), Signals() as signals:
        send(signal.SIGHUP)
        hang_up()
        assert not signals.received


def test_an_ignored_interrupt_is_received():
    """SIGINT is received also where a shell has started the process in the background, and ignores it."""
    with handled(signal.SIGINT, signal.SIG_IGN):
        with Signals() as signals, pytest.raises(Stopped):
            send(signal.SIGINT)
        assert signals.received
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_a_closed_output_is_a_hang_up():
    """A closed output counts as a hang-up within a training, and as no signal without one."""
    with handled(signal.SIGHUP, lambda *_: pytest.fail("a signal")):
        hang_up()
        with pytest.raises(Stopped), Signals():
            hang_up()


def test_time_is_counted_from_the_first_signal(monkeypatch):
    """A second signal does not prolong the time that is left after the first."""
    now = 1000.0
    monkeypatch.setattr("distill.training.interruption.time", SimpleNamespace(monotonic=lambda: now))
    signals = Signals()
    assert signals.seconds_left() == float("inf")
    signals.note()
    now += 3
    signals.note()
    assert signals.seconds_left() == 3


def test_what_takes_too_long_after_a_signal_is_cut_short(monkeypatch):
    """A long computation holds up no end; a short one is completed, and one that is too late not begun."""
    with handled(signal.SIGTERM, signal.SIG_DFL), Signals() as signals:
        assert signals.within_time(lambda: None)
        with pytest.raises(Stopped):
            send(signal.SIGTERM)
        monkeypatch.setattr("distill.training.interruption._SECONDS_TO_FINISH", 0.2)
        assert signals.within_time(lambda: None)
        began = time.monotonic()
        assert not signals.within_time(hang)
        assert time.monotonic() - began < 10
        assert not signals.within_time(lambda: pytest.fail("begun"))


class SignallingFile(io.BytesIO):
    """A file that sends a signal while libsndfile writes to it."""

    def write(self, content):
        """Write after a signal."""
        send(signal.SIGTERM)
        return super().write(content)


def write_and_go_on():
    """Write a sound, and go on for a minute."""
    soundfile.write(SignallingFile(), [0.0] * 100, 8000, format="WAV")
    hang()


@pytest.mark.parametrize("receiving", [Signals, Stopping])
def test_a_signal_while_a_sound_is_written_is_not_lost(receiving):
    """Soundfile would take what is raised there for an error of the file, and the signal would be lost."""
    began = time.monotonic()
    with handled(signal.SIGTERM, signal.SIG_DFL), pytest.raises(KeyboardInterrupt), receiving():
        write_and_go_on()
    assert time.monotonic() - began < 10


def test_a_sound_that_is_written_when_time_is_up_is_no_error(monkeypatch):
    """What is cut short while libsndfile writes is not complete, and has not failed."""
    monkeypatch.setattr("distill.training.interruption._SECONDS_TO_FINISH", 0.2)

    class SlowFile(io.BytesIO):
        def write(self, content):
            time.sleep(0.4)
            return super().write(content)

    with handled(signal.SIGTERM, signal.SIG_DFL), Signals() as signals:
        with pytest.raises(Stopped):
            send(signal.SIGTERM)
        assert not signals.within_time(
            lambda: (soundfile.write(SlowFile(), [0.0] * 100, 8000, format="WAV"), hang())
        )


def test_another_thread_handles_nothing():
    """Signals of a training in another thread set no handler, which Python would refuse."""
    seen = []

    def work():
        before = signal.getsignal(signal.SIGINT)
        with Signals() as signals, signals.noting():
            seen.append((signals.received, signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, True)]


def test_an_interruption_is_a_keyboard_interrupt():
    """What catches errors lets it pass, and it says how to go on."""
    error = Interrupted(Run(Path("my run")), 7)
    assert isinstance(error, KeyboardInterrupt)
    assert not isinstance(error, Exception)
    assert (error.run, error.step) == (Run(Path("my run")), 7)
    assert str(error) == (
        "interrupted at step 7, and saved. Go on with distill.train(..., resume=True, out='my run')"
    )

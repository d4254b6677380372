"""Tests of distill.training.interruption: signals are noted in the main thread, and left alone elsewhere."""

import os
import signal
import threading
from pathlib import Path

from distill.storage.run import Run
from distill.training.interruption import Interrupted, noting_signals


def test_a_signal_is_noted_and_the_handler_put_back():
    """Instead of what it does otherwise."""
    for number in (signal.SIGINT, signal.SIGTERM):
        before = signal.getsignal(number)
        with noting_signals() as noted:
            assert signal.getsignal(number) is not before
            os.kill(os.getpid(), number)
            assert len(noted) == 1
        assert signal.getsignal(number) is before


def test_another_thread_notes_nothing():
    """Python would refuse to set a handler there."""
    seen = []

    def work():
        before = signal.getsignal(signal.SIGINT)
        with noting_signals() as noted:
            seen.append((noted, signal.getsignal(signal.SIGINT) is before))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [([], True)]


def test_an_interruption_is_a_keyboard_interrupt():
    """What catches errors lets it pass, and it says how to go on."""
    error = Interrupted(Run(Path("my run")), 7)
    assert isinstance(error, KeyboardInterrupt)
    assert not isinstance(error, Exception)
    assert (error.run, error.step) == (Run(Path("my run")), 7)
    assert str(error) == (
        "interrupted at step 7, and saved. Go on with distill.train(..., resume=True, out='my run')"
    )

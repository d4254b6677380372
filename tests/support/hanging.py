"""Code that hangs until a signal ends it."""

import time


def hang():
    """Hang for a minute, in short sleeps.

    Python calls a handler between two instructions. A signal that comes just before the system call of a
    sleep does not end that sleep, and is handled after it.
    """
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.01)

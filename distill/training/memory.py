"""Settings of the C library's memory allocator."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_MOST = 2**30


def keep_freed_memory() -> None:
    """Let this process keep up to 1 GiB of freed memory for reuse.

    By default, glibc returns freed blocks of several MB to the system at once. A training step's tensors on a
    CPU are that large, and allocating their pages anew is expensive. Other C libraries are not changed.
    """
    for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
        _call("mallopt", option, _MOST)


def release_freed_memory() -> None:
    """Return the freed memory of this process to the system, also that between blocks that are in use.

    A small block that is kept, such as one of the latents of a short recording, is often placed in a larger
    one that was freed. What is left of that is too small for the next of its size, so that the heap would
    grow by all that was ever read. Other C libraries than glibc are not changed.
    """
    _call("malloc_trim", 0)


def _call(name: str, *values: int) -> None:
    """Call a function of glibc. Other C libraries lack it."""
    try:
        function = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):  # macOS, Windows
        return
    function(*values)

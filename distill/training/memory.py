"""Settings of the C library's memory allocator."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h
_MOST = 2**30


def keep_freed_memory() -> None:
    """Let this process keep up to 1 GiB of freed memory for reuse.

    By default, glibc returns freed blocks of several MB to the system at once. A training step's tensors on a
    CPU are that large, and allocating their pages anew is expensive. Other C libraries are not changed.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, Windows
        return
    mallopt(_MMAP_THRESHOLD, _MOST)
    mallopt(_TRIM_THRESHOLD, _MOST)

"""The memory of this machine, against which sizes in files are checked. Imports no torch."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from distill.errors import MemoryShortageError

_ASSUMED = 8 * 2**30
"""The memory that is assumed where the system does not tell, in bytes."""

_GROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@cache
def machine_memory() -> int:
    """Return the memory in bytes that this process may use: that of the machine, or of its container."""
    memory = _ASSUMED
    with suppress(ValueError, OSError, AttributeError):  # AttributeError: Windows
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _GROUP_LIMITS:
        with suppress(ValueError, OSError):  # "max" is no number
            memory = min(memory, int(path.read_text(encoding="ascii")))
    return memory


def in_words(size: float) -> str:
    """Return a number of bytes in words, such as "3.2 GB"."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB" if size < 1000 else f"{size:,.0f} TB"


@contextmanager
def naming_shortage() -> Iterator[None]:
    """Turn an allocation that failed, of Python, NumPy or torch, into a `DistillError`.

    Raises:
        MemoryShortageError: the memory was not enough.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _is_shortage(error):
            raise
        raise MemoryShortageError(
            f"the memory is not enough: {str(error).splitlines()[0] if str(error) else 'MemoryError'}",
            remedy="End other programs, use a smaller model, or lower training.batch_size or "
            "training.clip_seconds.",
        ) from error


def _is_shortage(error: BaseException) -> bool:
    # torch raises a plain RuntimeError on a CPU; its class for GPUs is not imported here.
    said = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in said
        or "not enough memory" in said
    )

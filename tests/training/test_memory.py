"""Tests of distill.training.memory, in processes of their own, since what the C library is told lasts."""

import ctypes
import subprocess
import sys

import pytest

from distill.training.memory import keep_freed_memory, release_freed_memory

FAULTS = """
import ctypes, resource
from distill.training.memory import keep_freed_memory

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]

def use(megabytes):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = library.malloc(megabytes << 20)
    library.memset(block, 1, megabytes << 20)
    library.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if {kept}:
    keep_freed_memory()
use(64)
print(sum(use(64) for _ in range(5)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_memory_that_is_freed_is_used_again():
    """The pages of 64 MB, 16,384, are not made anew when they are asked for again; else they all are."""
    made = [
        int(
            subprocess.run(
                [sys.executable, "-c", FAULTS.format(kept=kept)], capture_output=True, text=True, check=True
            ).stdout
        )
        for kept in (False, True)
    ]
    assert made[0] > 5 * 10_000
    assert made[1] < 500


HELD = """
import ctypes, re
from pathlib import Path
from distill.training.memory import keep_freed_memory, release_freed_memory

library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]

def anonymous():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

def use_and_free():
    blocks = [library.malloc(size) for _ in range(100) for size in (64 << 10, 64)]
    for block in blocks[::2]:
        library.memset(block, 1, 64 << 10)
        library.free(block)

keep_freed_memory()
before = anonymous()
use_and_free()
held = anonymous() - before
release_freed_memory()
print(held, anonymous() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_memory_between_blocks_in_use_is_released():
    """Of 100 blocks of 64 kB that are freed between small ones, at most the ends of their pages stay."""
    printed = subprocess.run([sys.executable, "-c", HELD], capture_output=True, text=True, check=True).stdout
    held, left = map(int, printed.split())
    assert held > 6000
    assert left < 1500


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_another_c_library_is_left_alone(monkeypatch, error):
    """Nothing happens where the C library has neither `mallopt` nor `malloc_trim`."""

    def missing(_):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    keep_freed_memory()
    release_freed_memory()

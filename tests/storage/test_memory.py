"""Tests of distill.storage.memory: the memory of the machine, and sizes in words."""

import numpy as np
import pytest
import torch

from distill.errors import MemoryShortageError
from distill.storage.memory import in_words, machine_memory, naming_shortage


def test_the_memory_is_that_of_the_machine():
    """The memory is at most what the kernel reports."""
    with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123  # not a file of ours
        told = int(file.readline().split()[1]) * 1024
    assert 2**28 < machine_memory() <= told


@pytest.mark.parametrize(
    ("size", "words"),
    [(1, "1 bytes"), (2048, "2.05 kB"), (24e9, "24 GB"), (1.5e12, "1.5 TB"), (4e18, "4,000,000 TB")],
)
def test_sizes_in_words(size, words):
    """A size is written with three digits and a unit."""
    assert in_words(size) == words


@pytest.mark.parametrize(
    ("allocate", "said"),
    [
        (lambda: np.empty(2**58), "the memory is not enough: Unable to allocate 2.00 EiB"),
        (lambda: torch.empty(2**60), "the memory is not enough: "),
        (lambda: bytearray(2**62), "the memory is not enough: MemoryError"),
    ],
)
def test_an_allocation_that_fails_is_named(allocate, said):
    """A failed allocation of any library is reported, and other errors pass unchanged."""
    with pytest.raises(MemoryShortageError) as caught, naming_shortage():
        allocate()
    assert caught.value.problem.startswith(said)
    with pytest.raises(RuntimeError, match="other"), naming_shortage():
        raise RuntimeError("other")

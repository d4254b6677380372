"""Tests of distill.storage.memory: the memory of the machine, and sizes in words."""

import pytest

from distill.storage.memory import in_words, machine_memory


def test_the_memory_is_that_of_the_machine():
    """At most what the kernel tells."""
    with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123  # not a file of ours
        told = int(file.readline().split()[1]) * 1024
    assert 2**28 < machine_memory() <= told


@pytest.mark.parametrize(
    ("size", "words"),
    [(1, "1 bytes"), (2048, "2.05 kB"), (24e9, "24 GB"), (1.5e12, "1.5 TB"), (4e18, "4,000,000 TB")],
)
def test_sizes_in_words(size, words):
    """Three digits are enough."""
    assert in_words(size) == words

"""Samples of a corpus in a file, read when they are needed."""

import os
from contextlib import suppress
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from distill.errors import CorpusError


class Samples(Protocol):
    """Samples `[N]` in memory or in a file, which can be sliced."""

    def __getitem__(self, part: slice, /) -> NDArray[np.float32]: ...


class FileSamples:
    """The float32 samples of an open file. A slice reads a copy of them.

    They are not memory-mapped: if such a file is cut short while it is used, SIGBUS ends the process.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor, self._name = os.dup(descriptor), name

    def __del__(self) -> None:
        with suppress(OSError):  # a plugin may have closed it
            os.close(self._descriptor)

    def __len__(self) -> int:
        return os.fstat(self._descriptor).st_size // 4

    def __getitem__(self, part: slice, /) -> NDArray[np.float32]:
        start, stop = part.start or 0, len(self) if part.stop is None else part.stop
        samples = np.empty(max(stop - start, 0), "<f4")
        rest = samples.view(np.uint8).data
        while rest and (count := os.preadv(self._descriptor, [rest], 4 * stop - len(rest))):
            rest = rest[count:]
        if rest:
            raise CorpusError(
                "the decoded recordings were cut short or damaged while they were used",
                culprit=self._name,
                remedy="Run the command again, with --resume where it trained: they are decoded anew.",
            )
        return samples

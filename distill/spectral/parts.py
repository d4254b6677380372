"""Processing of tensors part by part, so that intermediate results stay in a CPU's cache.

Shapes: `B` batch, `T` frames.
"""

from collections.abc import Iterator
from typing import TypeVar

from torch import Tensor

Kept = TypeVar("Kept")

_CACHED = 3 * 2**17
"""Numbers per part on a CPU. Larger parts leave its cache; smaller ones cost too many calls."""


def in_parts(first: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Split tensors of one shape `[B, ...]` or `[B, T, ...]` into corresponding parts.

    On a CPU the intermediate results of one part stay in the cache, which is most of the possible gain. On
    other devices the whole is one part. The parts of one example are consecutive.
    """
    tensors = first, *others
    if first.device.type != "cpu" or first.numel() <= _CACHED:
        return iter([tensors])
    count = _CACHED * len(first) // first.numel()
    if count or first.ndim < 3:
        return zip(*(tensor.split(max(1, count)) for tensor in tensors), strict=True)
    frames = first.shape[1]
    cuts = -(-first[0].numel() // _CACHED)
    return (
        part
        for example in zip(*(tensor.split(1) for tensor in tensors), strict=True)
        for part in zip(*(tensor.split(-(-frames // cuts), 1) for tensor in example), strict=True)
    )


def backwards(
    kept: list[Kept], parts: Iterator[tuple[Tensor, ...]]
) -> Iterator[tuple[Kept, tuple[Tensor, ...]]]:
    """Return the kept values of each part with the part, last first, since the cache still holds the last."""
    return reversed([*zip(kept, parts, strict=True)])


class Scratch:
    """Memory that is reused for each part, since allocating costs more than the computation."""

    def __init__(self, kind: Tensor) -> None:
        self._memory = kind.new_empty(0)

    def like(self, tensor: Tensor) -> Tensor:
        """Return uninitialized memory of the shape of a tensor. It is shared by all calls."""
        if self._memory.numel() < tensor.numel():
            self._memory = self._memory.new_empty(tensor.numel())
        return self._memory[: tensor.numel()].view(tensor.shape)

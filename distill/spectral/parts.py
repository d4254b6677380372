"""Tensors taken part by part, so that what is computed of a part stays in the cache of a CPU.

Shapes: `B` batch, `T` frames.
"""

from collections.abc import Iterator
from typing import TypeVar

from torch import Tensor

Kept = TypeVar("Kept")

_CACHED = 3 * 2**17
"""Numbers that are taken at a time on a CPU: more leave its cache, of fewer the calls cost too much."""


def in_parts(first: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Cut tensors of one shape `[B, ...]` or `[B, T, ...]` alike, into parts to take one after the other.

    On a CPU what is computed of one part stays in the cache from step to step, which is most of what
    there is to gain; elsewhere the whole is one part. The parts of an example follow each other.
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
    """Give what was kept of each part with the part, from the last, of which the cache still holds most."""
    return reversed([*zip(kept, parts, strict=True)])


class Scratch:
    """Memory for one part after the other, since fresh memory costs more than what is done with it."""

    def __init__(self, kind: Tensor) -> None:
        self._memory = kind.new_empty(0)

    def like(self, tensor: Tensor) -> Tensor:
        """Give memory of the shape of a tensor, overwriting what was given before."""
        if self._memory.numel() < tensor.numel():
            self._memory = self._memory.new_empty(tensor.numel())
        return self._memory[: tensor.numel()].view(tensor.shape)

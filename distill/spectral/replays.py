"""CUDA graphs of functions of tensors: kernels that are recorded once and replayed for one call of the host.

The spectral losses of a training step are some hundred small kernels. A GPU computes them faster than Python
launches them, so that it would be idle for most of their time.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress

import torch
from torch import Tensor

Compute = Callable[..., tuple[Tensor, ...]]

_CALLS = 2
"""The number of calls of one kind that are computed as usual. The next one is recorded."""

_KINDS = 12
"""The number of kinds of calls of a thread that are remembered, the latest ones."""

_LARGEST = 2**21
"""The numbers in an input up to which a graph is worth its memory. Larger inputs keep a GPU busy anyway."""


def replayed(compute: Compute, kind: Hashable, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Return `compute(*inputs)`: on CUDA, by a CUDA graph from the third call of one kind on.

    Inputs of more than 2**21 numbers keep a GPU busy without a graph, and get none. Calls are of one kind
    if they have equal `kind`s, and inputs of equal shapes, dtypes and devices, in one thread and stream.
    `compute` must depend on nothing else, must not wait for the device, and must draw no random numbers.
    While the caller records a graph, `compute` is called, and becomes part of it. The memory of the graphs
    of the latest kinds is kept.
    """
    first = inputs[0]
    if first.device.type != "cuda" or first.numel() > _LARGEST or torch.cuda.is_current_stream_capturing():
        return compute(*inputs)
    stream = torch.cuda.current_stream(first.device).cuda_stream
    tensors = ((each.shape, each.dtype, each.device) for each in inputs)
    return _remembered.of((kind, stream, *tensors))(compute, inputs)


class _Call:
    """Calls of one kind."""

    def __init__(self) -> None:
        self.made = 0
        self.recording: _Recording | None = None

    def __call__(self, compute: Compute, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if self.made == _CALLS:
            with suppress(RuntimeError):  # CUDA may refuse, for lack of memory, say
                self.recording = _Recording(compute, inputs)
        self.made += 1
        return compute(*inputs) if self.recording is None else self.recording.replay(inputs)


class _Recording:
    """A CUDA graph of a function, with its own inputs and outputs."""

    def __init__(self, compute: Compute, inputs: tuple[Tensor, ...]) -> None:
        self._graph = torch.cuda.CUDAGraph()
        self._inputs = [each.detach().clone(memory_format=torch.contiguous_format) for each in inputs]
        # Another thread may allocate memory meanwhile.
        with (
            torch.cuda.device(inputs[0].device),
            torch.cuda.graph(self._graph, capture_error_mode="thread_local"),
        ):
            self._outputs = compute(*self._inputs)

    def replay(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the outputs for other inputs."""
        for place, each in zip(self._inputs, inputs, strict=True):
            place.copy_(each)
        self._graph.replay()
        return tuple(each.clone() for each in self._outputs)  # since the next replay writes over them


class _Remembered(threading.local):
    """The kinds of calls of a thread, the latest last."""

    def __init__(self) -> None:
        self._calls: OrderedDict[Hashable, _Call] = OrderedDict()

    def of(self, kind: Hashable) -> _Call:
        """Return the calls of a kind, and forget that of the longest ago if there are too many."""
        call = self._calls.setdefault(kind, _Call())
        self._calls.move_to_end(kind)
        if len(self._calls) > _KINDS:
            self._calls.popitem(last=False)
        return call


_remembered = _Remembered()

"""CUDA graphs of functions of tensors: kernels that are recorded once and replayed for one call of the host.

The spectral losses of a training step are some hundred small kernels. A GPU computes them faster than Python
launches them, so that it would be idle for most of their time.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function

from distill.spectral import plain
from distill.spectral.gradients import Context, apply, differentiable

Compute = Callable[..., tuple[Tensor, ...]]

_CALLS = 2
"""The number of calls of one kind that are computed as usual. The next one is recorded."""

_KINDS = 64
"""The number of kinds of calls of a thread that are remembered, the latest ones."""

_PART = 1024
"""An input is recorded up to this part of the device's memory. Larger ones keep a GPU busy without a graph,
and a call with its graphs needs some 50 times the memory of its input.
"""


def replayed(compute: Compute, kind: Hashable, *inputs: Tensor) -> tuple[Tensor, ...]:
    """Return `compute(*inputs)`, without gradients: on CUDA, by a CUDA graph from a kind's third call on.

    Calls are of one kind if they have equal `kind`s, and inputs of equal shapes, dtypes and devices, in one
    thread and stream. `compute` must depend on nothing else, must not wait for the device, and must draw no
    random numbers. Other tensors that it reads must never be freed. While the caller records a graph,
    `compute` is called, and becomes part of it. A first input of more than a 1024th of the device's memory is
    not recorded. The memory of the graphs of the latest kinds is kept.
    """
    if not is_replayed(inputs[0]):
        return compute(*inputs)
    stream = torch.cuda.current_stream(inputs[0].device)
    tensors = ((each.shape, each.dtype, each.device) for each in inputs)
    return _remembered.of(stream, (kind, *tensors))(compute, inputs)


def replayed_with_gradient(compute: Callable[..., Tensor], kind: Hashable, *inputs: Tensor) -> Tensor:
    """Return `compute(*inputs)`, which autograd can differentiate any number of times, as `replayed` does.

    The backward pass is replayed, too. It computes the function again, which is less work for the host.
    """
    if plain.is_needed(*inputs) or not is_replayed(inputs[0]):
        return compute(*inputs)
    return cast("Tensor", apply(_Replayed, compute, kind, *inputs))


def is_replayed(tensor: Tensor) -> bool:
    """Return whether functions of a tensor are replayed: if it is on CUDA, not large, and not recorded."""
    if tensor.device.type != "cuda" or torch.cuda.is_current_stream_capturing():
        return False
    memory: int = torch.cuda.get_device_properties(tensor.device).total_memory
    return tensor.nbytes * _PART <= memory


def _replayed_again(ctx: Context) -> tuple[tuple[Any, ...], Tensor]:
    inputs = ctx.saved_tensors
    return (None, None, *inputs), ctx.compute(*inputs)  # as the arguments of the function


class _Replayed(Function):
    """A function of tensors whose forward and backward passes are replayed."""

    @staticmethod
    def forward(ctx: Context, compute: Callable[..., Tensor], kind: Hashable, *inputs: Tensor) -> Tensor:
        ctx.compute, ctx.kind = compute, kind
        ctx.save_for_backward(*inputs)
        (result,) = replayed(lambda *inputs: (compute(*inputs),), kind, *inputs)
        return result

    @staticmethod
    @differentiable(_replayed_again)
    def backward(ctx: Context, gradient: Tensor) -> tuple[Any, ...]:
        needed, compute = ctx.needs_input_grad[2:], ctx.compute

        def pulled(gradient: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
            leaves = [each.detach().requires_grad_(need) for each, need in zip(inputs, needed, strict=True)]
            with torch.enable_grad():
                value = compute(*leaves)
            return torch.autograd.grad(value, [each for each in leaves if each.requires_grad], gradient)

        gradients = iter(replayed(pulled, (ctx.kind, needed), gradient, *ctx.saved_tensors))
        return None, None, *(next(gradients) if need else None for need in needed)


class _Place:
    """Where the graphs for one stream are recorded, and the memory that they share.

    They can share it, since the outputs of each are copied before the next one is replayed.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream, self.pool = torch.cuda.Stream(device), torch.cuda.graph_pool_handle()


class _Call:
    """Calls of one kind."""

    def __init__(self, place: _Place) -> None:
        self.place, self.made = place, 0
        self.recording: _Recording | None = None

    def __call__(self, compute: Compute, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if self.made == _CALLS:
            with suppress(RuntimeError):  # CUDA may refuse, for lack of memory, say
                self.recording = _Recording(compute, inputs, self.place)
        self.made += 1
        return compute(*inputs) if self.recording is None else self.recording.replay(inputs)


class _Recording:
    """A CUDA graph of a function, with its own inputs and outputs."""

    _one_at_a_time = threading.Lock()

    def __init__(self, compute: Compute, inputs: tuple[Tensor, ...], place: _Place) -> None:
        self._graph = torch.cuda.CUDAGraph()
        # Tensors made in inference mode could not be written to outside of it.
        with torch.inference_mode(mode=False), torch.no_grad(), self._one_at_a_time:
            self._inputs = [each.detach().clone() for each in inputs]
            # Another thread may allocate memory meanwhile.
            with torch.cuda.graph(self._graph, place.pool, place.stream, capture_error_mode="thread_local"):
                self._outputs = compute(*self._inputs)

    def replay(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the outputs for other inputs."""
        for place, each in zip(self._inputs, inputs, strict=True):
            place.copy_(each)
        self._graph.replay()
        return tuple(each.clone() for each in self._outputs)  # since the next replay writes over them


class _Remembered(threading.local):
    """The kinds of calls of a thread, the latest last, and the places of its streams."""

    def __init__(self) -> None:
        self._calls: OrderedDict[Hashable, _Call] = OrderedDict()
        self._places: dict[torch.cuda.Stream, _Place] = {}

    def of(self, stream: torch.cuda.Stream, kind: Hashable) -> _Call:
        """Return the calls of a kind in a stream, and forget those of longest ago if there are too many."""
        if stream not in self._places:
            self._places[stream] = _Place(stream.device)
        call = self._calls.setdefault((stream, kind), _Call(self._places[stream]))
        self._calls.move_to_end((stream, kind))
        if len(self._calls) > _KINDS:
            self._calls.popitem(last=False)
        return call


_remembered = _Remembered()

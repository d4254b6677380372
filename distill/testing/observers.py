"""Context managers that observe torch operations."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_HALF = (torch.float16, torch.bfloat16)


@contextmanager
def half_precision() -> Iterator[list[str]]:
    """Yield a list that collects operations in half precision, forward or backward."""
    seen: list[str] = []
    with _Precision(seen):
        yield seen


class _Watching(TorchDispatchMode):
    """A dispatch mode that calls `look` for every operation, forward and backward."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's are not annotated
        self.seen = seen

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401  # as torch has it
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  # as torch has it
        result = func(*args, **(kwargs or {}))
        self.look(_name(func), args, result)
        return result

    @abstractmethod
    def look(self, name: str, args: Sequence[Any], result: object) -> None:
        """Inspect an operation, its arguments and its result."""


class _Precision(_Watching):
    def look(self, name: str, args: Sequence[Any], result: object) -> None:  # noqa: ARG002  # as above
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and tensor.dtype in _HALF:
                self.seen.append(f"{name} gives a {tensor.dtype} tensor")


def _name(operation: Any) -> str:  # noqa: ANN401  # an OpOverload, which torch does not export
    return str(operation.overloadpacket)


@contextmanager
def synchronizations() -> Iterator[list[str]]:
    """Yield a list that collects operations that would synchronize with an accelerator, on any device."""
    seen: list[str] = []
    with _Calls(seen), _Operations(seen):
        yield seen


_WAITING = {
    "aten._local_scalar_dense": ".item(), a branch on a tensor, or a number made of one",
    "aten.equal": "torch.equal(...)",
    "aten.nonzero": "nonzero(), whose shape depends on the values",
    "aten.masked_select": "masked_select(), whose shape depends on the values",
    "aten._unique2": "unique(), whose shape depends on the values",
    "aten.unique_consecutive": "unique_consecutive(), whose shape depends on the values",
    "aten.unique_dim": "unique(), whose shape depends on the values",
    "aten.repeat_interleave": "repeat_interleave() by a tensor, whose shape depends on the values",
    "aten.bincount": "bincount(), whose shape depends on the values",
}


class _Operations(_Watching):
    def look(self, name: str, args: Sequence[Any], result: object) -> None:  # noqa: ARG002  # as above
        if name in _WAITING:
            self.seen.append(_WAITING[name])
        elif name in {"aten.index", "aten.index_put", "aten.index_put_"} and _is_masked(args):
            self.seen.append("indexing with a mask, whose shape depends on the values,")


def _is_masked(args: Sequence[Any]) -> bool:
    _, indices, *values = args
    # With a single value, torch fills masked elements without synchronization.
    filled = bool(values) and values[0].numel() == 1
    return not filled and any(
        isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in indices
    )


_COPYING = {
    Tensor.tolist: ".tolist()",
    Tensor.numpy: ".numpy()",
    Tensor.cpu: ".cpu()",
    Tensor.__array__: "a NumPy array made of a tensor",
}


class _Calls(TorchFunctionMode):
    """A function mode that records copies to the CPU, which are no operations for a tensor on the CPU."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  # as torch has it
        if func in _COPYING:
            self.seen.append(_COPYING[func])
        elif func is Tensor.to and "cpu" in (*args[1:], (kwargs or {}).get("device")):
            self.seen.append('.to("cpu")')
        return func(*args, **(kwargs or {}))

"""The state of torch in which a training run computes, whatever a notebook has set around it."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

_LOCK = threading.Lock()
_inside: list[torch.dtype] = []
"""The default dtype that each run under way has found. It is one for the whole process."""


@contextmanager
def isolated_torch_state() -> Iterator[None]:
    """Compute in float32, on the CPU by default, with gradients and without autocast, inside the context.

    Otherwise `torch.set_default_dtype`, `torch.set_default_device`, `torch.autocast`, `torch.no_grad` and
    `torch.inference_mode` around a training run would change its result, or end it.
    """
    with ExitStack() as stack:
        stack.enter_context(_float32())
        stack.enter_context(torch.inference_mode(mode=False))
        stack.enter_context(torch.enable_grad())
        # Entered only where needed: a default device slows down every call.
        if torch.empty(0).device.type != "cpu":  # `get_default_device` may fail before torch 2.9
            stack.enter_context(torch.device("cpu"))
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def _float32() -> Iterator[None]:
    """Make float32 the default dtype until the last run in this process ends."""
    with _LOCK:
        _inside.append(_inside[0] if _inside else torch.get_default_dtype())
        torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        with _LOCK:
            found = _inside.pop()
            if not _inside:
                torch.set_default_dtype(found)

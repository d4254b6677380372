"""Checks of precision, devices, synchronization and saved state."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from distill.testing.checks.sounds import close
from distill.testing.observers import half_precision, synchronizations
from distill.testing.outcome import Failed
from distill.testing.subject import Subject, gradients, leaves, seeded, with_leaves


def float32(subject: Subject) -> None:
    """Under autocast, nothing is computed in half precision, neither forward nor backward."""
    subject.require_loss()
    option = subject.config.weight_option
    weight = getattr(subject.config, option) or 1.0
    loss = subject.compose(**{option: weight if subject.has_gradient else 0.0})
    inputs = subject.inputs(progress=1.0)
    with half_precision() as seen, seeded():
        # The backward pass is outside of autocast, as in training.
        with torch.set_grad_enabled(subject.has_gradient), torch.autocast("cpu", dtype=torch.bfloat16):
            total = loss(inputs)["total"]
        gradients(total, leaves(inputs))
    if seen:
        raise Failed(f"{seen[0]}; leave out .half(), .bfloat16() and autocast in the term")
    halved = with_leaves(inputs, lambda tensor: tensor.bfloat16())
    whole = with_leaves(inputs, lambda tensor: tensor.bfloat16().float())
    first, second = (subject.value(subject.build(), each) for each in (halved, whole))
    if not close(first, second):
        raise Failed(
            f"for a prediction in bfloat16 the value is {first.item():g}, for the same in float32 "
            f"{second.item():g}; use inputs.view(...), which returns float32"
        )


def state(subject: Subject) -> None:
    """A new term with the loaded state of another one returns the same value."""
    subject.require_value()
    module, restored = subject.build(seed=1), subject.build(seed=2)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.01)
    try:
        restored.load_state_dict(module.state_dict())
    except RuntimeError as error:
        raise Failed(f"its state cannot be loaded into a new term: {error}") from error
    inputs = subject.inputs()
    first, second = (subject.value(each, inputs) for each in (module, restored))
    if not close(first, second):
        raise Failed(
            f"the value is {first.item():g}, and {second.item():g} for a new term with its state; "
            "keep learnt values in parameters, and random ones in buffers: self.register_buffer()"
        )


def device(subject: Subject) -> str:
    """The term moves to another device completely and, if there is one, returns the same value there."""
    for path, tensor in left_behind(subject.build().to("meta")):
        raise Failed(
            f"self.{path}, a tensor of shape {list(tensor.shape)}, stays where it is when the term is moved; "
            "make it a buffer by self.register_buffer(name, tensor, persistent=False)"
        )
    other = accelerator()
    if other is None:
        return "there is no other device to try"
    subject.require_value()
    module, made = subject.build(), subject.material()
    here = subject.value(module, subject.inputs(made))
    # Moved after a first call, so that tensors that the term has cached are tested, too.
    inputs = subject.inputs(made.to(other))
    there = subject.value(module.to(other), inputs, f"on {other}, ")
    subject.pulls(module, inputs, f"on {other}, ")
    if not close(here, there.cpu(), 1e-2):
        raise Failed(f"the value is {here.item():g} on cpu and {there.item():g} on {other}")
    return f"agrees on {other}"


def accelerator() -> torch.device | None:
    """Return the device other than the CPU, or None."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps") if torch.backends.mps.is_available() else None


def left_behind(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield each tensor that `module.to("meta")` does not reach, with the path of its attribute."""
    for prefix, inner in module.named_modules():
        for name, value in vars(inner).items():
            if name not in {"_parameters", "_buffers", "_modules"}:
                yield from _tensors(value, f"{prefix}.{name}".lstrip("."), set())


def _tensors(value: object, path: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    if id(value) in seen or isinstance(value, nn.Module | type):
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        if value.device.type != "meta":
            yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _tensors(item, f"{path}[{key!r}]", seen)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _tensors(item, f"{path}[{index}]", seen)
    elif hasattr(value, "__dict__"):
        for name, item in vars(value).items():
            yield from _tensors(item, f"{path}.{name}", seen)


def sync(subject: Subject) -> None:
    """Nothing synchronizes with the device, such as `.item()`, a branch on a tensor, or a mask."""
    subject.require_value()
    module, inputs = subject.build(), subject.inputs()
    with synchronizations() as seen:
        subject.pulls(module, inputs)
    if seen:
        raise Failed(
            f"{seen[0]} waits for the accelerator at each step; keep to tensors: "
            "torch.where(...) for a branch, a product with the mask for a selection"
        )

"""The window of steps between two records, over which the components of the loss are averaged."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from distill.loss.components import ComponentName


class Window:
    """Sums of the components over the steps from `first` on, kept on the device.

    Adding a step does not synchronize the host with the device. From the first step with a non-finite value
    on, `bad` is 1 and `last` keeps the components of that step. A checkpoint holds the window, so that the
    next record of a resumed run is the mean over the same steps as that of a run that never stopped.

    Attributes:
        first: the number of steps before the window.
        steps: the number of steps in the window.
        seconds: the training time at which the window began.
        names: the names of the components, empty before the first step.
        bad: 1 from the first non-finite value on, else 0, on the device.
    """

    def __init__(self, first: int, seconds: float, device: torch.device, bad: Tensor | None = None) -> None:
        self.first, self.steps, self.seconds = first, 0, seconds
        self.names: list[str] = []
        self.sum = self.last = torch.zeros((), device=device)
        self.bad = torch.zeros((), device=device) if bad is None else bad

    @property
    def end(self) -> int:
        """The number of steps up to the end of the window."""
        return self.first + self.steps

    def fits(self, components: Mapping[str, Tensor]) -> bool:
        """Return whether a step with these components belongs to the window. A term may have started."""
        return self.names in ([], list(components))

    def is_finite(self, components: Mapping[str, Tensor]) -> Tensor:
        """Return whether the components that decide about a step are finite, as a bool on the device."""
        decisive = [value for name, value in components.items() if ComponentName.parse(name).is_decisive]
        return torch.stack(decisive).isfinite().all()

    def add(self, components: Mapping[str, Tensor], bad: Tensor) -> None:
        """Add the components of a step. `bad` is positive if they are not finite, in any process."""
        values = torch.stack([value.detach().float() for value in components.values()])
        self.names = list(components)
        self.last = torch.where(self.bad > 0, self.last, values)
        self.bad = torch.maximum(self.bad, bad.clamp(max=1))
        self.sum = self.sum + values
        self.steps += 1

    def packed(self) -> Tensor:
        """Return `bad`, the means and the last components as one tensor for `unpack`."""
        return torch.cat([self.bad[None], self.sum / max(self.steps, 1), self.last])

    def unpack(self, values: list[float]) -> tuple[bool, dict[str, float], dict[str, float]]:
        """Return whether a step was bad, the means, and the components of the last or the bad step."""
        bad, means, last = values[0], values[1 : len(self.names) + 1], values[len(self.names) + 1 :]
        return bad > 0, dict(zip(self.names, means, strict=True)), dict(zip(self.names, last, strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the window for a checkpoint."""
        return {
            "first": self.first,
            "steps": self.steps,
            "seconds": self.seconds,
            "names": self.names,
            "sum": self.sum,
            "last": self.last,
            "bad": self.bad,
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any], device: torch.device) -> "Window":
        """Return the window that `state_dict` described."""
        window = cls(state["first"], state["seconds"], device, state["bad"].to(device))
        window.steps, window.names = state["steps"], list(state["names"])
        window.sum, window.last = state["sum"].to(device), state["last"].to(device)
        return window

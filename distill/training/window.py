"""The window of steps between two records, over which the components of the loss are averaged."""

from collections.abc import Mapping
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from distill.training.term_gradients import Measured


class Window:
    """Sums of the components over the steps from `first` on, kept on the device.

    Adding a step does not synchronize the host with the device. Values that are not finite are left out, and
    so are steps that the optimizers skip. A checkpoint holds the window, so that the next record of a resumed
    run is the mean over the same steps as that of a run that never stopped.

    Attributes:
        first: the number of steps before the window.
        steps: the number of steps in the window.
        seconds: the training time at which the window began.
        names: the names of the components, empty before the first step.
        sum: the sums of the components, on the device.
        counts: the number of values in each sum, on the device.
        learning_rate: the learning rate of the last step, None before the first one.
        gradients: the last measurement of the terms' gradients, None if there is none in the window.
    """

    def __init__(self, first: int, seconds: float, device: torch.device) -> None:
        self.first, self.steps, self.seconds = first, 0, seconds
        self.names: list[str] = []
        self.sum = self.counts = torch.zeros((), device=device)
        self.learning_rate: float | None = None
        self.gradients: Measured | None = None

    @property
    def end(self) -> int:
        """The number of steps up to the end of the window."""
        return self.first + self.steps

    def fits(self, components: Mapping[str, Tensor]) -> bool:
        """Return whether a step with these components belongs to the window. A term may have started."""
        return self.names in ([], list(components))

    def add(
        self,
        components: Mapping[str, Tensor],
        skipped: Tensor,
        gradients: Measured | None = None,
        learning_rate: float | None = None,
    ) -> None:
        """Add the components of a step. `skipped` is 1 if the optimizers skip it, else 0.

        `gradients` are those of its terms if they were measured.
        """
        values = torch.stack([value.detach().float() for value in components.values()])
        self.names = list(components)
        counted = values.isfinite() & (skipped == 0)
        self.sum = self.sum + torch.where(counted, values, 0.0)
        self.counts = self.counts + counted
        self.steps += 1
        self.learning_rate = learning_rate
        if gradients is not None:
            self.gradients = gradients.unless(skipped, self.gradients)

    def rewind(self, step: int) -> None:
        """Forget the steps after `step`, all of which were skipped."""
        self.steps = max(step - self.first, 0)

    def means(self) -> Tensor:
        """Return the mean of each component, NaN if no step had a finite value, on the device."""
        return self.sum / self.counts

    def more(self, accelerator: Accelerator) -> dict[str, Any]:
        """Return the other fields of the window's record. The host waits for the device."""
        gradients = self.gradients and self.gradients.record(accelerator)
        return {"learning_rate": self.learning_rate, "gradients": gradients}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the window for a checkpoint."""
        return {
            "first": self.first,
            "steps": self.steps,
            "seconds": self.seconds,
            "names": self.names,
            "sum": self.sum,
            "counts": self.counts,
            "learning_rate": self.learning_rate,
            "gradients": self.gradients and self.gradients.state_dict(),
        }

    @classmethod
    def restored(cls, state: Mapping[str, Any], device: torch.device) -> "Window":
        """Return the window that `state_dict` described."""
        window = cls(state["first"], state["seconds"], device)
        window.steps, window.names = state["steps"], list(state["names"])
        window.sum, window.counts = state["sum"].to(device), state["counts"].to(device)
        window.learning_rate = state.get("learning_rate")  # checkpoints of older versions have none of these
        if gradients := state.get("gradients"):
            window.gradients = Measured.restored(gradients, device)
        return window

"""Steps whose loss or gradient is not finite: noticed on the device, and looked at every few steps."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from attrs import field, frozen
from torch import Tensor, nn

from distill.config.settings import TrainingSettings
from distill.loss.components import ComponentName

_MOST_STEPS = 100
"""The most steps between two looks. The states of the generators are kept for each, about 15 kB."""


@frozen(kw_only=True, eq=False)
class Before:
    """The state before a step that determines its random numbers and its clips.

    `step` is the number of steps before. `clips` and `noise` are states of the generators of the trainer,
    `corpus` is that of the corpus. `torch` are the states of torch's generators, which terms may use: of the
    CPU and, with CUDA, of the device.
    """

    step: int
    progress: float
    clips: Tensor
    noise: Tensor
    corpus: Mapping[str, Any]
    torch: tuple[Tensor, ...] = field(factory=lambda: torch_states())  # noqa: PLW0108  # defined below

    def drawn(self) -> dict[str, Any]:
        """Return the states from which the trainer draws the clips and the noise."""
        return {"clips": self.clips, "noise": self.noise, "corpus": self.corpus}


def torch_states() -> tuple[Tensor, ...]:
    """Return the states of torch's global generators: of the CPU and, if CUDA is in use, of its device."""
    cuda = (torch.cuda.get_rng_state(),) if torch.cuda.is_initialized() else ()
    return torch.get_rng_state(), *cuda


def set_torch_states(states: Iterable[Tensor]) -> None:
    """Set the states that `torch_states` returned. The states of devices that are not in use are left out."""
    cpu, *cuda = states
    torch.set_rng_state(cpu)
    if cuda and torch.cuda.is_available():
        torch.cuda.set_rng_state(cuda[0])


@frozen(kw_only=True, eq=False)
class Nonfinite:
    """A step that was not finite: its components, and whether it is the one at which the run stops.

    `in_a_row` is the number of such steps in a row up to this one, `count` their number in the whole run.
    """

    before: Before
    components: dict[str, float]
    in_a_row: int
    count: int
    stops: bool


class Watch:
    """Notices steps that are not finite, and decides on the device whether the optimizers skip a step.

    With the policy `stop`, no step is taken from the first one on that is not finite, so that the weights
    stay as they were before it. With `skip`, only these steps are skipped, unless there are more than
    `max_skipped` in a row. The host waits for the device in `look` alone.
    """

    def __init__(self, settings: TrainingSettings, device: torch.device) -> None:
        self.allowed = settings.max_skipped if settings.nonfinite == "skip" else 0
        self._row, self._stopped = torch.zeros((), device=device), torch.zeros((), device=device)
        self._row_looked_at = self._count = 0
        self._steps: list[tuple[Before, list[str], Tensor, Tensor]] = []

    @property
    def is_full(self) -> bool:
        """Whether `look` should be called before the next step."""
        return len(self._steps) >= _MOST_STEPS

    def add(self, before: Before, components: Mapping[str, Tensor], bad: Tensor) -> Tensor:
        """Note a step, and return 1 on the device if the optimizers have to skip it, else 0.

        Args:
            before: The state before the step.
            components: The components of the loss, and the norms of gradients.
            bad: 1 on the device if the step is not finite in any process, else 0.
        """
        self._row = (self._row + 1) * bad
        skipped = torch.maximum(bad, self._stopped)
        self._stopped = torch.maximum(self._stopped, (self._row > self.allowed).float())
        values = torch.stack([value.detach().float() for value in components.values()])
        self._steps.append((before, list(components), values, bad))
        return skipped

    def is_told(self, found: Nonfinite) -> bool:
        """Return whether to tell of a skipped step: of the 1st, 10th, 100th and so on."""
        return found.count in (10**power for power in range(10))

    def look(self) -> list[Nonfinite]:
        """Return the steps since the last look that were not finite, up to the one that stops the run.

        In distributed training the components are those of this process.
        """
        steps, self._steps = self._steps, []
        if not steps:
            return []
        found = []
        for (before, names, values, _), bad in zip(
            steps, torch.stack([bad for *_, bad in steps]).tolist(), strict=True
        ):
            self._row_looked_at = self._row_looked_at + 1 if bad else 0
            if not bad:
                continue
            self._count += 1
            stops = self._row_looked_at > self.allowed
            found.append(
                Nonfinite(
                    before=before,
                    components=dict(zip(names, values.tolist(), strict=True)),
                    in_a_row=self._row_looked_at,
                    count=self._count,
                    stops=stops,
                )
            )
            if stops:
                break
        return found


def is_finite(components: Mapping[str, Tensor]) -> Tensor:
    """Return whether the components that decide about a step are finite, as a bool on the device."""
    decisive = [value for name, value in components.items() if ComponentName.parse(name).is_decisive]
    return torch.stack(decisive).isfinite().all()


class Buffers:
    """Restores the buffers of modules after a step that is not finite, such as the averages of a balancer.

    The forward pass writes to them, and a NaN in an average would stay.
    """

    def __init__(self, *modules: nn.Module) -> None:
        owners = [each for module in modules for each in module.modules()]
        self._places = [(owner, name) for owner in owners for name in owner._buffers]  # noqa: SLF001
        current = [self._current(*place) for place in self._places]
        self._kept = [None if each is None else each.clone() for each in current]
        self._seen = [self._written(*place) for place in self._places]

    def settle(self, bad: Tensor) -> None:
        """Keep the buffers that the step has written if `bad` is 0, and restore them if it is 1."""
        for number, place in enumerate(self._places):
            current, kept = self._current(*place), self._kept[number]
            if self._written(*place) == self._seen[number] or current is None:
                continue
            with torch.no_grad():
                if kept is None or kept.shape != current.shape:
                    kept = current.clone()
                kept = torch.where(bad > 0, kept.to(current), current)
                current.copy_(kept)
            self._kept[number], self._seen[number] = kept, self._written(*place)

    def _current(self, owner: nn.Module, name: str) -> Tensor | None:
        return owner._buffers.get(name)  # noqa: SLF001  # named_buffers() searches all modules

    def _written(self, owner: nn.Module, name: str) -> tuple[int, int]:
        """Return what changes when a buffer is replaced or written to."""
        current = self._current(owner, name)
        return (0, 0) if current is None else (id(current), current._version)  # noqa: SLF001  # as above

"""Each term's share of the gradient during training, and the direction of its gradient.

Shapes: `B` clips in a batch, `K` terms.

The gradients are taken on the graph of a training step, so that no term is called and nothing is drawn for
them. `docs/report.md` describes what is recorded.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import combinations
from typing import Any, Protocol, Self

import torch
from accelerate import Accelerator
from attrs import evolve, frozen
from torch import Tensor

from distill.loss.components import weight_name
from distill.loss.composer import CombinedLoss
from distill.loss.faults import described
from distill.model import VAE
from distill.training.differentiating import Places, flat, inner_products, norm
from distill.training.gradients import Gradients
from distill.training.nonfinite import set_torch_states, torch_states
from distill.training.record import About
from distill.views import LossInputs

STEPS_FOR_EACH_TERM = 50
"""The default number of steps between two measurements, for each term with a weight.

Differentiating a term takes about half as long as a step, so that measuring takes about 1 % of the time.
"""

_DIGITS = 6


@frozen(kw_only=True, eq=False)
class Measured:
    """The unweighted gradients of terms in one step, on the device.

    `output` and `posterior` `[B, K, K]` are as in `Gradients`, `parameters` `[K]` are norms with respect to
    the weights of the model that are trained, and `weights` `[K]` are those of the step. `still` are terms
    with a weight that depend on nothing that is trained.
    """

    names: tuple[str, ...]
    output: Tensor
    posterior: Tensor
    parameters: Tensor
    weights: Tensor
    still: tuple[str, ...] = ()

    def gradients(self) -> Gradients:
        """Return the gradients for comparison, on the CPU. The host waits for the device."""
        output, posterior = (each.cpu().double() for each in (self.output, self.posterior))
        return Gradients(names=self.names, output=output, posterior=posterior)

    def unless(self, skipped: Tensor, earlier: Self | None) -> Self:
        """Return this measurement or, if `skipped` is 1 on the device, the earlier one; NaN if none is."""
        before = dict(earlier.tensors()) if earlier is not None and earlier.names == self.names else {}
        chosen: dict[str, Any] = {
            name: torch.where(skipped > 0, before.get(name, math.nan), value)
            for name, value in self.tensors()
        }
        return evolve(self, **chosen)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the tensors by name."""
        for name in ("output", "posterior", "parameters", "weights"):
            yield name, getattr(self, name)

    def record(self, accelerator: Accelerator) -> dict[str, Any]:
        """Return what a record holds of the measurement, over the clips of all processes."""
        measured = self
        if accelerator.num_processes > 1:
            products = {name: accelerator.gather(getattr(self, name)) for name in ("output", "posterior")}
            means = {
                name: accelerator.reduce(getattr(self, name), reduction="mean")
                for name in ("parameters", "weights")
            }
            measured = evolve(self, **products, **means)
        gradients = measured.gradients()
        weights = dict(zip(self.names, measured.weights.tolist(), strict=True))
        norms = dict(zip(self.names, measured.parameters.tolist(), strict=True))
        cosines: dict[str, dict[str, float]] = {}
        for one, other in combinations(self.names, 2):
            cosine = gradients.cosine(one, other)
            if math.isfinite(cosine):
                cosines.setdefault(one, {})[other] = round(cosine, _DIGITS)
        still = dict.fromkeys(self.still, 0.0)
        return {
            "shares": _shares(gradients.sizes(weights)) | still,
            "parameter_shares": _shares({name: weights[name] * norms[name] for name in norms}) | still,
            "cosines": cosines,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the measurement for a checkpoint."""
        return {"names": self.names, "still": self.still, **dict(self.tensors())}

    @classmethod
    def restored(cls, state: Mapping[str, Any], device: torch.device) -> Self:
        """Return the measurement that `state_dict` described."""
        tensors = {name: value.to(device) for name, value in state.items() if isinstance(value, Tensor)}
        return cls(names=tuple(state["names"]), still=tuple(state["still"]), **tensors)


class Listener(Protocol):
    """What looks at the steps of a training run, such as its `Health`."""

    @property
    def measures(self) -> bool:
        """Whether the gradients of the next step are used."""

    def seen(self, inputs: LossInputs, gradients: Measured | None) -> None:
        """Receive the inputs of a step, and the gradients if they were measured."""


class TermGradients:
    """Measures the gradients of a loss's terms in some steps of a training run.

    `every` is the number of steps between two measurements that are recorded; None for the default, 0 for
    none. `warn` is called once for a term that cannot be differentiated apart from the others.
    """

    def __init__(
        self, loss: CombinedLoss, model: VAE, every: int | None, warn: Callable[[About, str], None]
    ) -> None:
        self.loss, self.model, self._warn = loss, model, warn
        weighted = sum(1 for weight in loss.weights_at(1.0).values() if weight)
        self.every = STEPS_FOR_EACH_TERM * max(1, weighted) if every is None else every
        self._undifferentiable: set[str] = set()

    def are_due(self, step: int) -> bool:
        """Return whether the measurement of a step, counted from 0, is recorded. The first two are.

        In the first, terms whose weight rises from 0, such as `kl`, have none.
        """
        return self.every > 0 and (step < 2 or (step + 1) % self.every == 0)

    def components(
        self, inputs: LossInputs, step: int, listener: Listener
    ) -> tuple[dict[str, Tensor], Measured | None]:
        """Return the components of the loss in a step, and the gradients of its terms if they are recorded.

        The listener gets the inputs, and the gradients if they are due or it measures this step.
        """
        due = self.are_due(step)
        if not due and not listener.measures:
            listener.seen(inputs, None)
            components: dict[str, Tensor] = self.loss(inputs)
            return components, None
        components = self.loss.differentiable(inputs)
        gradients = self.measure(components, inputs, with_parameters=due)
        listener.seen(inputs, gradients)
        return components, gradients if due else None

    def measure(
        self, components: Mapping[str, Tensor], inputs: LossInputs, *, with_parameters: bool
    ) -> Measured | None:
        """Differentiate the terms of a step, whose components have gradients; None if none has any.

        The global random generators and the buffers of the terms stay as they are. Beside the graph of the
        step, the gradients of all terms at the output are in memory, `K` times the size of the batch's
        spectrograms, and those of one term at a time with respect to the weights of the model.
        """
        places = self._places(inputs, with_parameters=with_parameters)
        weighted = [name for name in self.loss.origins if weight_name(name) in components]
        still = []
        products: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
        with _left_alone(self.loss):
            for name in weighted:
                value = components[name]
                if name in self._undifferentiable:
                    continue
                if not value.requires_grad or not any(places):
                    # Terms without a weight are computed without a gradient, too.
                    if self.loss.active_weights(inputs.progress)[name]:
                        still.append(name)
                    continue
                try:
                    products[name] = _compared(places.gradients_of(value), value)
                except torch.OutOfMemoryError:
                    raise
                except Exception as error:  # noqa: BLE001  # a backward pass may raise anything
                    self._leave_out(name, error)
        if not products:
            return None
        output, posterior, parameters = zip(*products.values(), strict=True)
        return Measured(
            names=tuple(products),
            output=inner_products(output),
            posterior=inner_products(posterior),
            parameters=torch.stack(parameters),
            weights=torch.stack([components[weight_name(name)].detach() for name in products]),
            still=tuple(still),
        )

    def _places(self, inputs: LossInputs, *, with_parameters: bool) -> Places:
        posterior = inputs.posterior.mu, inputs.posterior.logvar
        learnt = self.model.parameters() if with_parameters else ()
        return Places(
            outputs=tuple(each for each in inputs.prediction.sources if each.requires_grad),
            posterior=tuple(each for each in posterior if each.requires_grad),
            parameters=tuple(each for each in learnt if each.requires_grad),
        )

    def _leave_out(self, name: str, error: Exception) -> None:
        self._undifferentiable.add(name)
        self._warn(
            "gradient",
            f"The gradient of the term '{name}' cannot be measured apart from the others: "
            f"{described(error)}\nThe training goes on. Shares and cosines are recorded without this term.",
        )


def _compared(gradients: Places, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return a term's gradients at output and posterior `[B, n]`, and the norm at the weights."""
    nothing = like.detach().new_zeros(1, 1)
    return (
        flat(gradients.outputs) if gradients.outputs else nothing,
        flat(gradients.posterior) if gradients.posterior else nothing,
        norm(gradients.parameters) if gradients.parameters else nothing.sum(),
    )


@contextmanager
def _left_alone(loss: CombinedLoss) -> Iterator[None]:
    """Restore the global random generators, and the buffers of the terms that are written to."""
    states = torch_states()
    kept = [(buffer, buffer._version, buffer.clone()) for buffer in loss.buffers()]  # noqa: SLF001  # as autograd has it
    try:
        yield
    finally:
        set_torch_states(states)
        for buffer, version, before in kept:
            if buffer._version != version:  # noqa: SLF001  # as above
                with torch.no_grad():
                    buffer.copy_(before)


def _shares(sizes: Mapping[str, float]) -> dict[str, float | None]:
    """Return the shares of sizes in their sum; none if the sum is 0, and None where it is not finite."""
    whole = math.fsum(sizes.values())
    if whole == 0:
        return {}
    shares = {name: size / whole for name, size in sizes.items()}
    return {name: round(share, _DIGITS) if math.isfinite(share) else None for name, share in shares.items()}

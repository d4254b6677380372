"""The term under test: functions that build it, call it, and find out what its value depends on."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch
from attrs import evolve
from torch import Tensor, nn

from distill.loss.components import TOTAL, can_name_a_part
from distill.loss.composer import CombinedLoss
from distill.loss.config import loss_config_class
from distill.loss.faults import described
from distill.plugin.hookspecs import BaseTermConfig
from distill.plugin.registered import Term
from distill.spectral.plain import at_least_float32
from distill.spectral.representation import MagnitudeIF
from distill.testing.inputs import Material, material
from distill.testing.outcome import Failed, NotApplicable
from distill.views import LossInputs, Posterior


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    """Seed torch's global generators inside the context, and restore them afterwards."""
    used = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    # Without an accelerator, torch.manual_seed formats the call stack thrice: half the time of the checks.
    reseed = torch.manual_seed if torch.accelerator.is_available() else torch.default_generator.manual_seed
    with torch.random.fork_rng(used):
        reseed(seed)
        yield


def leaves(inputs: LossInputs) -> list[Tensor]:
    """Return the tensors at which a model receives its gradient."""
    return [*inputs.prediction.sources, inputs.posterior.mu, inputs.posterior.logvar]


def with_leaves(inputs: LossInputs, change: Callable[[Tensor], Tensor]) -> LossInputs:
    """Return inputs in which `change` is applied to each of the `leaves`, which require gradients again."""

    def changed(tensor: Tensor) -> Tensor:
        return change(tensor).detach().requires_grad_()

    prediction, posterior = inputs.prediction, inputs.posterior
    sources = prediction.spectrogram, prediction.waveform
    spectrogram, waveform = (None if source is None else changed(source) for source in sources)
    return evolve(
        inputs,
        prediction=evolve(prediction, spectrogram=spectrogram, waveform=waveform),
        posterior=Posterior(mu=changed(posterior.mu), logvar=changed(posterior.logvar)),
    )


def gradients(value: Tensor, tensors: Sequence[Tensor]) -> list[Tensor | None]:
    """Return the gradient of a scalar for each tensor, or None where there is none."""
    if not value.requires_grad:
        return [None] * len(tensors)
    return [*torch.autograd.grad(value, tensors, allow_unused=True)]


def stepped(inputs: LossInputs, pulls: Sequence[Tensor | None], step: float) -> LossInputs:
    """Return inputs with each leaf moved against its gradient by `step` times the norm of the leaf."""
    moved = {
        id(tensor): tensor - step * tensor.norm() / pull.norm() * pull
        for tensor, pull in zip(leaves(inputs), pulls, strict=True)
        if pull is not None and pull.norm() > 0
    }
    return with_leaves(inputs, lambda tensor: moved.get(id(tensor), tensor))


def problem_with(result: object) -> str:
    """Return a description of a result that is neither a scalar float tensor nor a dict of them, else ""."""
    if not isinstance(result, dict):
        return _problem_with_scalar(result)
    if not result:
        return "an empty dict"
    for part, value in result.items():
        if not can_name_a_part(part):
            return f"a part named {part!r}, which is not text that can be printed"
        if part == TOTAL:
            return "a part named 'total', which is the name of the whole loss"
        if problem := _problem_with_scalar(value):
            return f"{problem} as part {part!r}"
    return ""


def _problem_with_scalar(value: object) -> str:
    if not isinstance(value, Tensor):
        return repr(value)
    if value.ndim or not value.is_floating_point():
        return f"a {value.dtype} tensor of shape {list(value.shape)}"
    return ""


def number(result: object) -> Tensor:
    """Reduce a result to one number even if it is not a valid loss, so that other checks can run."""
    if isinstance(result, dict) and result:
        return torch.stack([number(value) for value in result.values()]).sum()
    if isinstance(result, Tensor) and result.is_floating_point() and result.numel():
        return at_least_float32(result).mean()
    raise Failed(f"it returned {problem_with(result)}")


class Subject:
    """A term with its options, and the representation of the test sounds."""

    def __init__(self, term: Term, config: BaseTermConfig, representation: MagnitudeIF) -> None:
        self.term, self.spec, self.config = term, term.spec, config
        self.representation = representation
        self._materials: dict[tuple[tuple[str, Any], ...], Material] = {}

    def build(self, *, seed: int = 0) -> nn.Module:
        """Build a new module of the term, its random numbers drawn with `seed`."""
        with seeded(seed):
            return self.term.build(self.config)

    def compose(self, **options: float) -> CombinedLoss:
        """Return a loss of this term alone, with some of its options changed."""
        config: Any = self.config
        table = loss_config_class((self.term,))
        with seeded():
            return CombinedLoss((self.term,), table(**{self.term.name: evolve(config, **options)}))

    def material(self, **options: Any) -> Material:  # noqa: ANN401  # those of `material`
        """Return material at the representation's sample rate; see `distill.testing.inputs.material`.

        It is made once, and not to be changed.
        """
        asked = tuple(sorted(options.items()))
        if asked not in self._materials:
            self._materials[asked] = material(sample_rate=self.representation.sample_rate, **options)
        return self._materials[asked]

    def inputs(self, made: Material | None = None, **options: Any) -> LossInputs:  # noqa: ANN401  # as above
        """Return inputs from `made`, or from the default material; options are those of `Material.inputs`."""
        return (made or self.material()).inputs(self.representation, **options)

    def call(self, module: nn.Module, inputs: LossInputs, *, seed: int = 0) -> object:
        """Call the built term as the composer does, and return its result."""
        with seeded(seed):
            return module(evolve(inputs.renewed(), last=True))

    def result(self, module: nn.Module, inputs: LossInputs, where: str = "", *, seed: int = 0) -> object:
        """Call the built term with inputs for which it must not raise an exception.

        Raises:
            Failed: the term raised an exception.
        """
        try:
            return self.call(module, inputs, seed=seed)
        except Exception as error:
            raise Failed(
                f"{where}it raised {described(error)}; call it with distill.testing.loss_inputs() to debug it"
            ) from error

    def value(self, module: nn.Module, inputs: LossInputs, where: str = "", *, seed: int = 0) -> Tensor:
        """Call the built term and reduce the result to a number.

        Raises:
            Failed: the term raised an exception, or its result cannot be reduced to a number.
        """
        return number(self.result(module, inputs, where, seed=seed))

    def pulls(self, module: nn.Module, inputs: LossInputs, where: str = "") -> list[Tensor | None]:
        """Return the gradient for each of the leaves."""
        return gradients(self.value(module, inputs, where), leaves(inputs))

    @cached_property
    def _usual(self) -> tuple[Tensor, list[Tensor | None]] | None:
        """The value and gradients for the default inputs, or None if there is no value."""
        inputs = self.inputs()
        try:
            value = self.value(self.build(), inputs)
        except Failed:
            return None
        return value.detach(), gradients(value, leaves(inputs))

    @cached_property
    def has_gradient(self) -> bool:
        """Whether the gradient for the default inputs is finite and not 0 everywhere."""
        pulls = [pull for pull in (self._usual or (None, []))[1] if pull is not None]
        finite = all(bool(pull.isfinite().all()) for pull in pulls)
        return finite and any(bool(pull.any()) for pull in pulls)

    @cached_property
    def looks_at_prediction(self) -> bool:
        """Whether the value depends on the prediction, or the prediction gets a gradient."""
        if self._usual is None:
            return False
        reached = any(pull is not None for pull in self._usual[1][:-2])
        return reached or self._changes(prediction=self.material(seed=1).prediction)

    @cached_property
    def looks_at_target(self) -> bool:
        """Whether the value depends on the target."""
        return self._changes(target=self.material(seed=1).target)

    def _changes(self, **others: Tensor) -> bool:
        if self._usual is None:
            return False
        value = self.value(self.build(), self.inputs(evolve(self.material(), **others)))
        return not torch.equal(value.detach(), self._usual[0])

    def require_number(self) -> Tensor:
        """Return the value for the default inputs.

        Raises:
            NotApplicable: the term raises an exception, or returns no number.
        """
        if self._usual is None:
            raise NotApplicable("needs a number: see 'scalar'")
        return self._usual[0]

    def require_value(self) -> None:
        """Raise `NotApplicable` unless the term returns a finite number."""
        if not self.require_number().isfinite():
            raise NotApplicable("needs a finite number: see 'finite'")

    def require_loss(self) -> None:
        """Raise `NotApplicable` unless the term does what the composer requires.

        It returns a scalar or parts, and does not write to its inputs in place.
        """
        self.require_value()
        if self._obstacle:
            raise NotApplicable(self._obstacle)

    @cached_property
    def _obstacle(self) -> str:
        inputs = self.inputs().renewed()
        held = inputs.versions()
        with seeded():
            result = self.build()(inputs)
        if problem_with(result):
            return "needs a scalar: see 'scalar'"
        return "writes to its inputs: see 'inputs_unchanged'" if inputs.written_since(held) else ""

    def require_gradient(self) -> None:
        """Raise `NotApplicable` unless the term has a gradient."""
        self.require_value()
        if not self.has_gradient:
            raise NotApplicable("needs a gradient")

    def require_prediction(self) -> None:
        """Raise `NotApplicable` unless the term depends on the prediction."""
        self.require_value()
        if not self.looks_at_prediction:
            raise NotApplicable("the term does not depend on the prediction")

    def require_comparison(self) -> None:
        """Raise `NotApplicable` unless the term depends on both prediction and target."""
        self.require_prediction()
        if not self.looks_at_target:
            raise NotApplicable("the term does not compare prediction and target")

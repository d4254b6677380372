"""The composer: a combined loss of weighted terms, which returns its components."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypedDict, Unpack

import torch
from attrs import evolve
from torch import Tensor, nn

from distill.errors import DistillError, InputError, TermError
from distill.loss.components import (
    OBJECTIVE,
    TOTAL,
    can_name_a_part,
    objective_name,
    part_name,
    weight_name,
    weighted_name,
)
from distill.loss.faults import fault_of, weight_at
from distill.loss.last_terms import LastTerm
from distill.loss.term_dict import TermDict
from distill.plugin.foreign import undisturbed
from distill.plugin.registered import Term
from distill.spectral.plain import at_least_float32
from distill.system.stopping import is_stop
from distill.views import LossInputs, Posterior
from distill.views.uncompiled import uncompiled


class _Others(TypedDict, total=False):
    """Keyword arguments allowed with two waveforms."""

    sample_rate: int
    posterior: Posterior | None
    progress: float
    extras: Mapping[str, Any] | None


class CombinedLoss(nn.Module):
    """A weighted sum of terms, called with `LossInputs` or with two waveforms.

    It returns a dict of scalars (`distill.loss.components`): `total`; each unweighted term under its name and
    each of its parts as `term/part`; `weighted/term` and `weight/term`. Only `total` and `objective` have a
    gradient, so that keeping the others holds no graph; `differentiable` returns all of them with gradients.
    Views are computed at most once per call. The loss is computed in float32, regardless of autocast, and in
    float64 for float64 inputs. A term whose weight is 0 is monitored: it is computed without gradient.

    Trained terms add `objective`, the sum of their `objective/term`. Its gradient reaches only their own
    parameters; the gradient of `total` does not reach these. A term before its start is not computed.
    A `balancer` changes the weights in training mode. In `eval()` mode trained terms are not computed and
    weights are fixed factors, so that totals are comparable between steps.

    Args:
        terms: The terms.
        config: An instance of the class made for these terms, with one attribute per term.
        balancer: A module as `BalancerSpec` describes it, or None for fixed weights.
    """

    def __init__(
        self,
        terms: Iterable[Term],
        config: Any,  # noqa: ANN401  # made for the terms
        *,
        balancer: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.origins = {term.name: term for term in terms}
        self.balancer = balancer
        self.terms = TermDict(self.origins.values(), config)

    def weights_at(self, progress: float) -> dict[str, float]:
        """Return the weight of each term at a progress of 0..1, by name."""
        return {
            name: weight_at(term, getattr(self.config, name), progress) for name, term in self.origins.items()
        }

    def active_weights(self, progress: float) -> dict[str, float]:
        """Return the weights of the terms that are computed at a progress of 0..1, by name."""
        return {
            name: weight
            for name, weight in self.weights_at(progress).items()
            if self._takes_part(name, progress)
        }

    def trained_terms(self) -> dict[str, Any]:
        """Return the modules of the trained terms, by name."""
        return {name: self.terms[name] for name, term in self.origins.items() if term.spec.trained}

    @uncompiled
    def forward(
        self, inputs: LossInputs | Tensor, target: Tensor | None = None, **others: Unpack[_Others]
    ) -> dict[str, Tensor]:
        """Compute every term once and sum them.

            loss(inputs)
            loss(prediction, target, sample_rate=44_100, posterior=posterior, progress=0.3)

        Args:
            inputs: `LossInputs`, or the predicted waveform `[B, N]` or `[B, C, N]`.
            target: The target waveform, of the same shape, if `inputs` is a waveform.
            **others: `sample_rate`, `posterior`, `progress` and `extras` of `LossInputs.from_waveforms`.

        Raises:
            InputError: The arguments are of other types.
            ShapeError: The shapes of prediction and target do not match.
            TermError: A term raises an error, writes to its inputs in place, returns something other than a
                scalar or a dict of scalars, or has no gradient although the model is trained.
        """
        components = self.differentiable(_as_inputs(inputs, target, others))
        return {
            name: value if name in (TOTAL, OBJECTIVE) else value.detach()
            for name, value in components.items()
        }

    @uncompiled
    def differentiable(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Return the components as a call does, each with its gradient.

        Raises:
            ShapeError: The shapes of prediction and target do not match.
            TermError: A term raises an error, writes to its inputs in place, returns something other than a
                scalar or a dict of scalars, or has no gradient although the model is trained.
        """
        inputs = inputs.renewed()
        weights = self.active_weights(inputs.progress)
        with torch.autocast(inputs.device.type, enabled=False):
            results = self._results(inputs, weights)
            components = {key: value for name in weights for key, value in results[name].items()}
            factors = self._factors(inputs, weights, components)
            for name, factor in factors.items():
                # 0 * inf would make the total nan.
                value = components[name]
                components[weighted_name(name)] = factor * value if weights[name] else torch.zeros_like(value)
            nothing = torch.zeros((), device=inputs.device)
            total = torch.stack([nothing, *(components[weighted_name(name)] for name in weights)]).sum()
            objectives = self._objectives(inputs, weights)
        for name, factor in factors.items():
            components[weight_name(name)] = torch.zeros_like(total, requires_grad=False) + factor
        return {TOTAL: total, **components, **objectives}

    @uncompiled
    def unweighted(self, name: str, inputs: LossInputs) -> Tensor:
        """Return one unweighted term, a scalar with gradient whatever its weight.

        Raises:
            ShapeError: The shapes of prediction and target do not match.
            TermError: The term raises an error, writes to its inputs in place, or returns something other
                than a scalar or a dict of scalars.
        """
        return self.unweighted_parts(name, inputs)[name]

    @uncompiled
    def unweighted_parts(self, name: str, inputs: LossInputs) -> dict[str, Tensor]:
        """Return one unweighted term and its parts by component name, as `unweighted` does."""
        with torch.autocast(inputs.device.type, enabled=False):
            return self._result(name, evolve(inputs.renewed(), last=True))

    def _takes_part(self, name: str, progress: float) -> bool:
        begun: bool = getattr(self.config, name).has_begun(progress)
        return begun and (self.training or not self.origins[name].spec.trained)

    def _results(self, inputs: LossInputs, weights: dict[str, float]) -> dict[str, dict[str, Tensor]]:
        results = {}
        order = self._order(weights)
        for name in order:
            learns = torch.is_grad_enabled() and weights[name] != 0
            with torch.set_grad_enabled(learns):
                results[name] = self._result(name, evolve(inputs, last=name == order[-1]))
            if learns and inputs.learning and not results[name][name].requires_grad:
                raise TermError(
                    "the term has no gradient: its result is detached from the prediction",
                    culprit=str(self.origins[name]),
                    remedy="Compute it from inputs.view(...) without detach(), item() or no_grad(), or "
                    f"monitor it with a weight of 0: "
                    f"loss.{name}.{getattr(self.config, name).weight_option} = 0",
                )
        return results

    def _result(self, name: str, inputs: LossInputs) -> dict[str, Tensor]:
        """Call a term. The parameters of a trained term get no gradient here."""
        term = self.terms[name]
        own = term.parameters() if self.origins[name].spec.trained else ()
        with _frozen(own):
            return self._called(name, term, inputs)

    def _called(
        self, name: str, call: Callable[[LossInputs], object], inputs: LossInputs
    ) -> dict[str, Tensor]:
        """Call a term or its objective, and name the term in whatever error it raises."""
        held = inputs.versions()
        try:
            with undisturbed():
                result = call(inputs)
        except TermError as error:
            error.culprit = error.culprit or str(self.origins[name])
            raise
        except (DistillError, torch.OutOfMemoryError):
            raise
        # A term that calls sys.exit(0), too, must not end a training run as if it were done.
        except BaseException as error:
            if is_stop(error):
                raise
            raise fault_of(self.origins[name], error) from error
        if written := inputs.written_since(held):
            raise TermError(
                f"the term writes in place to {written}, which other terms and the gradient use",
                culprit=str(self.origins[name]),
                remedy="Change a copy: x = x * 2 instead of x *= 2, or x.clone() first.",
            )
        return self._named(name, result)

    def _factors(
        self, inputs: LossInputs, weights: dict[str, float], components: dict[str, Tensor]
    ) -> dict[str, float | Tensor]:
        """Return the factor of each term: its weight, or the balancer's factor."""
        if self.balancer is None or not (self.training and torch.is_grad_enabled()):
            return {**weights}
        outputs = tuple(source for source in inputs.prediction.sources if source.requires_grad)
        if not outputs:
            return {**weights}
        weighted = {name: weight for name, weight in weights.items() if weight}
        losses = {name: components[name] for name in weighted}
        balanced = {key: value.detach() for key, value in self.balancer(losses, weighted, outputs).items()}
        return {name: balanced.get(name, weight) for name, weight in weights.items()}

    def _objectives(self, inputs: LossInputs, weights: dict[str, float]) -> dict[str, Tensor]:
        """Return the objectives of the active trained terms, computed on detached views."""
        trained = [name for name in weights if self.origins[name].spec.trained]
        if not trained or not torch.is_grad_enabled():
            return {}
        inputs = inputs.detached()
        modules = self.trained_terms()
        named = {name: self._called(name, modules[name].objective, inputs) for name in trained}
        parts = {objective_name(key): value for values in named.values() for key, value in values.items()}
        total = torch.stack([named[name][name] for name in trained]).sum()
        return {OBJECTIVE: total, **parts}

    def _order(self, weights: dict[str, float]) -> list[str]:
        """Return the order in which the terms run."""

        def rank(name: str) -> tuple[bool, bool]:
            last = self.origins[name].spec.last or isinstance(self.terms[name], LastTerm)
            # Monitored terms come last: the views that they compute have no gradient.
            return weights[name] == 0, last

        return sorted(weights, key=rank)

    def _named(self, name: str, result: object) -> dict[str, Tensor]:
        """Return a term and its parts by component name."""
        if not isinstance(result, dict) or not result:
            return {name: self._scalar(name, result)}
        if TOTAL in result:
            raise TermError(
                "the term returned a part called 'total', which is the name of the whole loss",
                culprit=str(self.origins[name]),
                remedy="Call the part something else, or leave it out: a term is the sum of its parts.",
            )
        for part in result:
            if not can_name_a_part(part):
                raise TermError(
                    f"the term returned a part named {part!r}; expected text that can be printed",
                    culprit=str(self.origins[name]),
                    remedy="Name each part with a word, such as 'magnitude'.",
                )
        parts = {
            part_name(name, part): self._scalar(name, value, f" as part {part!r}")
            for part, value in result.items()
        }
        return {name: torch.stack(list(parts.values())).sum(), **parts}

    def _scalar(self, name: str, value: object, where: str = "") -> Tensor:
        if isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point():
            return at_least_float32(value)
        shown = repr(value)
        if isinstance(value, Tensor):
            shown = f"a {value.dtype} tensor of shape {list(value.shape)}"
        raise TermError(
            f"the term returned {shown}{where}; expected a scalar float tensor or a dict of them",
            culprit=str(self.origins[name]),
            remedy="Reduce the loss to one number, with .mean() for example.",
        )


def _as_inputs(inputs: LossInputs | Tensor, target: Tensor | None, others: _Others) -> LossInputs:
    if isinstance(inputs, LossInputs):
        given = [*(["target"] if target is not None else []), *others]
        if given:
            raise InputError(
                f"LossInputs contain all inputs of a loss: got {', '.join(given)} in addition",
                remedy="Call loss(inputs), or loss(prediction, target, ...) with two waveforms.",
            )
        return inputs
    if not (isinstance(inputs, Tensor) and isinstance(target, Tensor)):
        got = " and ".join(type(each).__name__ for each in (inputs, target) if each is not None)
        raise InputError(
            f"a loss is called with LossInputs or with two waveforms: got {got or 'nothing'}",
            remedy="Call loss(inputs), or loss(prediction, target) with tensors [B, N] or [B, C, N].",
        )
    return LossInputs.from_waveforms(inputs, target, **others)


@contextmanager
def _frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Disable the gradients of these parameters in the context; other gradients are unaffected."""
    learnt = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in learnt:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learnt:
            parameter.requires_grad_(True)

"""The composer: terms and their weights as one combined loss that returns its components."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypedDict, Unpack

import torch
from attrs import evolve
from torch import Tensor, nn

from distill.config import assign, structure
from distill.errors import ConfigError, InputError, TermError
from distill.loss.components import (
    OBJECTIVE,
    TOTAL,
    objective_name,
    part_name,
    weight_name,
    weighted_name,
)
from distill.loss.config import configure
from distill.loss.scheduling import LastTerm
from distill.loss.term_dict import TermDict
from distill.plugin.hookspecs import TermSpec
from distill.plugin.registered import Term
from distill.plugin.registry import Registry
from distill.spectral.plain import at_least_float32
from distill.views import LossInputs, Posterior
from distill.views.uncompiled import uncompiled


class _Others(TypedDict, total=False):
    """What may be passed beside two waveforms."""

    sample_rate: int
    posterior: Posterior | None
    progress: float
    extras: Mapping[str, Any] | None


class CombinedLoss(nn.Module):
    """A weighted sum of terms, called with `LossInputs` or with two waveforms.

    It returns a dict of scalars: `total`, with the gradient; each term under its name and each of
    its parts as `term/part`, unweighted; `weighted/term` and `weight/term`. Only `total` and `objective`
    have a gradient, so that the others can be kept; `differentiable` returns all of them with theirs.
    Views are computed at most once per call. The loss is computed in float32, autocast or not, and in
    float64 for inputs of float64. A term whose weight is 0 is monitored: computed without gradient.

    Trained terms add `objective`, the sum of `objective/term` over them, whose gradient is that of
    their own parameters alone; `total` gives these none. A term that has not begun is left out.
    With `balancer`, weights in training are what that makes of them. In `eval()` mode trained terms are
    left out and weights are fixed factors, so that totals can be compared from step to step.

    `config` has one attribute per term, its config.
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
        """Give the weight that each term's config has at a progress of 0..1."""
        return {name: getattr(self.config, name).weight_at(progress) for name in self.origins}

    def trained_terms(self) -> dict[str, Any]:
        """Give the modules of the terms that have an objective of their own, by name."""
        return {name: self.terms[name] for name, term in self.origins.items() if term.spec.trained}

    @uncompiled
    def forward(
        self, inputs: LossInputs | Tensor, target: Tensor | None = None, **others: Unpack[_Others]
    ) -> dict[str, Tensor]:
        """Compute every term once and add them up.

            loss(inputs)
            loss(prediction, target, sample_rate=44_100, posterior=posterior, progress=0.3)

        Args:
            inputs: `LossInputs`, or the predicted waveform `[B, N]` or `[B, C, N]`.
            target: a waveform of the same shape, beside a predicted one.
            **others: `sample_rate`, `posterior`, `progress` and `extras` of `LossInputs.from_waveforms`.

        Raises:
            InputError: it is called with something else.
            ShapeError: prediction and target do not belong together.
            TermError: a term returns something that is not a scalar or a dict of scalars, or gives a
                model to train no gradient.
        """
        components = self.differentiable(_as_inputs(inputs, target, others))
        return {
            name: value if name in (TOTAL, OBJECTIVE) else value.detach()
            for name, value in components.items()
        }

    @uncompiled
    def differentiable(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Compute the components as a call does, each with its gradient.

        Raises:
            ShapeError: prediction and target do not belong together.
            TermError: a term returns something that is not a scalar or a dict of scalars, or gives a
                model to train no gradient.
        """
        inputs = inputs.renewed()
        weights = {
            name: weight
            for name, weight in self.weights_at(inputs.progress).items()
            if self._takes_part(name, inputs.progress)
        }
        with torch.autocast(inputs.device.type, enabled=False):
            results = self._results(inputs, weights)
            components = {key: value for name in weights for key, value in results[name].items()}
            factors = self._factors(inputs, weights, components)
            for name, factor in factors.items():
                # Of a monitored term that is infinite the total must not become nan.
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
        """Compute one term by itself, with gradient whatever its weight: a scalar.

        Raises:
            ShapeError: prediction and target do not belong together.
            TermError: the term returns something that is not a scalar or a dict of scalars.
        """
        with torch.autocast(inputs.device.type, enabled=False):
            return self._result(name, evolve(inputs.renewed(), last=True))[name]

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
                    "the term gives no gradient: what it returned is detached from the prediction",
                    culprit=str(self.origins[name]),
                    remedy="Compute it of inputs.view(...) without detach(), item() or no_grad(), or monitor "
                    f"it with a weight of 0: loss.{name}.{getattr(self.config, name).weight_option} = 0",
                )
        return results

    def _result(self, name: str, inputs: LossInputs) -> dict[str, Tensor]:
        """Call a term; one that is trained itself gives its own parameters no gradient here."""
        term = self.terms[name]
        own = term.parameters() if self.origins[name].spec.trained else ()
        with _frozen(own):
            return self._called(name, term, inputs)

    def _called(
        self, name: str, call: Callable[[LossInputs], object], inputs: LossInputs
    ) -> dict[str, Tensor]:
        """Call a term, or its objective; an error of it that names no culprit is the term's."""
        try:
            return self._named(name, call(inputs))
        except TermError as error:
            error.culprit = error.culprit or str(self.origins[name])
            raise

    def _factors(
        self, inputs: LossInputs, weights: dict[str, float], components: dict[str, Tensor]
    ) -> dict[str, float | Tensor]:
        """Give what each term is multiplied with: its weight, or what the balancer makes of it."""
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
        """Let every trained term that takes part judge itself, of views out of the model's reach."""
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
            # Monitored terms come after all others, else a view that they share would be without gradient.
            return weights[name] == 0, last

        return sorted(weights, key=rank)

    def _named(self, name: str, result: object) -> dict[str, Tensor]:
        """Name what a term returned: the term itself, and its parts if it returned any."""
        if not isinstance(result, dict) or not result:
            return {name: self._scalar(name, result)}
        if TOTAL in result:
            raise TermError(
                "the term returned a part called 'total', which is the name of the whole loss",
                culprit=str(self.origins[name]),
                remedy="Call the part something else, or leave it out: a term is the sum of its parts.",
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
                f"LossInputs hold everything a loss looks at: got {', '.join(given)} beside them",
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
    """Let what is computed give gradient to whatever it looks at, and none to these parameters."""
    learnt = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in learnt:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in learnt:
            parameter.requires_grad_(True)


def compose(
    terms: str | TermSpec | Iterable[str | TermSpec],
    options: Mapping[str, Any] | None = None,
    *,
    balancer: str | None = None,
    balancer_options: Mapping[str, Any] | None = None,
    registry: Registry | None = None,
) -> CombinedLoss:
    """Compose a loss of terms, for a training loop of one's own.

        loss = compose("stft,recon,kl", {"stft.weight": 2.0})
        components = loss(inputs)
        components["total"].backward()

    A term of one's own need not be installed: `compose(["stft", "kl", TermSpec(...)])`.

    Where a term is trained itself, `components["objective"].backward()` gives the gradients of
    `loss.parameters()`, for an optimizer of their own.

    Args:
        terms: names or aliases of terms, comma-separated or one by one; `dist:name` where two
            distributions have a term of one name. A `TermSpec` among them is a term that is not installed.
        options: values by their address, such as `"loss.stft.weight"`; `loss.` may be left out.
        balancer: its name, such as `"gradient"`; by default weights are fixed factors.
        balancer_options: its options by name, or by their address, such as `"balancing.gradient.decay"`.
        registry: where to look terms and balancer up; by default everything that is installed.

    Raises:
        TermError: a term or the balancer is unknown, ambiguous or broken, or two terms have one name.
        ConfigError: an option is unknown, is set twice, or does not fit.
    """
    registry = registry or Registry()
    chosen = registry.choose(terms)
    names = {name for term in chosen for name in term.names}
    config = configure(chosen, _nested(options or {}, "loss", names))
    if balancer is None:
        return CombinedLoss(chosen, config)
    found = registry.choose_balancer(balancer)
    section = f"balancing.{found.name}"
    balancing = structure(_nested(balancer_options or {}, section, ()), found.spec.config, at=section)
    built = found.build(balancing, tuple(term.name for term in chosen))
    return CombinedLoss(chosen, config, balancer=built)


def _nested(options: Mapping[str, Any], section: str, names: Collection[str]) -> dict[str, Any]:
    """Nest options by their address below a section, which may stand before it.

    `names` are those that an address below it may begin with; one of them may be that of the section.
    """
    tree: dict[str, Any] = {}
    given: dict[str, str] = {}
    for address, value in options.items():
        below = address.removeprefix(f"{section}.")
        first = below.partition(".")[0]
        inner = below if first in names or section not in names else address
        if inner in given:
            raise ConfigError(
                f"{section}.{inner}: is set twice, as '{given[inner]}' and as '{address}'; set it once"
            )
        given[inner] = address
        assign(tree, inner, value)
    return tree

"""The composer: terms and their weights as one combined loss that returns its components."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from attrs import evolve
from torch import Tensor, nn

from distill.config import assign
from distill.errors import TermError
from distill.loss_config import configure
from distill.registry import Registry, Term
from distill.views import LossInputs


class CombinedLoss(nn.Module):
    """A weighted sum of terms, called with `LossInputs`.

    It returns a dict of scalars: `total`, with the gradient; each term under its name and each of
    its parts as `term/part`, unweighted; `weighted/term` and `weight/term`. Views are computed at
    most once per call. The loss is computed in float32, autocast or not. A term whose weight is 0 is
    monitored: computed without gradient.

    `config` has one attribute per term, its config.
    """

    def __init__(self, terms: Iterable[Term], config: Any) -> None:  # noqa: ANN401  # made for the terms
        super().__init__()
        self.config = config
        self.origins = {term.name: term for term in terms}
        # Prefixed, since an `nn.ModuleDict` has methods, and a term may be named `keys`.
        self.terms = nn.ModuleDict(
            {f"term_{name}": term.build(getattr(config, name)) for name, term in self.origins.items()}
        )

    def weights_at(self, progress: float) -> dict[str, float]:
        """Give each term's weight at a progress of 0..1."""
        return {name: getattr(self.config, name).weight_at(progress) for name in self.origins}

    def forward(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Compute every term once and add them up.

        Raises:
            ShapeError: prediction and target do not belong together.
            TermError: a term returns something that is not a scalar or a dict of scalars.
        """
        inputs = inputs.renewed()
        weights = self.weights_at(inputs.progress)
        results: dict[str, dict[str, Tensor]] = {}
        with torch.autocast(inputs.device.type, enabled=False):
            order = self._order(weights)
            for name in order:
                shown = evolve(inputs, last=name == order[-1])
                with torch.set_grad_enabled(torch.is_grad_enabled() and weights[name] != 0):
                    results[name] = self._named(name, self.terms[f"term_{name}"](shown))
            components = {key: value for name in weights for key, value in results[name].items()}
            for name, weight in weights.items():
                # Of a monitored term that is infinite the total must not become nan.
                value = components[name]
                components[f"weighted/{name}"] = weight * value if weight else torch.zeros_like(value)
            total = torch.stack([components[f"weighted/{name}"] for name in weights]).sum()
        for name, weight in weights.items():
            components[f"weight/{name}"] = torch.full_like(total, weight, requires_grad=False)
        return {"total": total, **components}

    def _order(self, weights: dict[str, float]) -> list[str]:
        """Give the order in which the terms run."""
        # Monitored terms come after all others, else a view that they share would be without gradient.
        return sorted(weights, key=lambda name: (weights[name] == 0, self.origins[name].spec.last))

    def _named(self, name: str, result: object) -> dict[str, Tensor]:
        """Name what a term returned: the term itself, and its parts if it returned any."""
        if not isinstance(result, dict) or not result:
            return {name: self._scalar(name, result)}
        parts = {
            f"{name}/{part}": self._scalar(name, value, f" as part {part!r}")
            for part, value in result.items()
        }
        return {name: torch.stack(list(parts.values())).sum(), **parts}

    def _scalar(self, name: str, value: object, where: str = "") -> Tensor:
        if isinstance(value, Tensor) and value.ndim == 0 and value.is_floating_point():
            return value.float()
        shown = repr(value)
        if isinstance(value, Tensor):
            shown = f"a {value.dtype} tensor of shape {list(value.shape)}"
        raise TermError(
            f"the term returned {shown}{where}; expected a scalar float tensor or a dict of them",
            culprit=str(self.origins[name]),
            remedy="Reduce the loss to one number, with .mean() for example.",
        )


def compose(
    terms: str | Iterable[str],
    options: Mapping[str, Any] | None = None,
    *,
    registry: Registry | None = None,
) -> CombinedLoss:
    """Compose a loss of installed terms, for a training loop of one's own.

        loss = compose("stft,recon,kl", {"stft.weight": 2.0})
        components = loss(inputs)
        components["total"].backward()

    Args:
        terms: names or aliases of terms, comma-separated or one by one; `dist:name` where two
            distributions have a term of one name.
        options: values by their address below `loss`, such as `"stft.weight"`.
        registry: where to look the terms up; by default everything that is installed.

    Raises:
        TermError: a term is unknown, ambiguous or broken.
        ConfigError: an option is unknown or does not fit.
    """
    chosen = (registry or Registry()).choose(terms)
    tree: dict[str, Any] = {}
    for address, value in (options or {}).items():
        assign(tree, address, value)
    return CombinedLoss(chosen, configure(chosen, tree))

"""The composer: terms and their weights as one combined loss that returns its components."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
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
        self.terms = nn.ModuleDict(
            {name: term.build(getattr(config, name)) for name, term in self.origins.items()}
        )

    def weights_at(self, progress: float) -> dict[str, float]:
        """Give each term's weight at a progress of 0..1."""
        return {name: getattr(self.config, name).weight_at(progress) for name in self.terms}

    def forward(self, inputs: LossInputs) -> dict[str, Tensor]:
        """Compute every term once and add them up.

        Raises:
            ShapeError: prediction and target do not belong together.
            TermError: a term returns something that is not a scalar or a dict of scalars.
        """
        inputs = inputs.renewed()
        weights = self.weights_at(inputs.progress)
        components: dict[str, Tensor] = {}
        with torch.autocast(inputs.device.type, enabled=False):
            for name, weight in weights.items():
                with torch.set_grad_enabled(torch.is_grad_enabled() and weight != 0):
                    result = self.terms[name](inputs)
                components |= self._named(name, result)
            for name, weight in weights.items():
                components[f"weighted/{name}"] = weight * components[name]
            total = torch.stack([components[f"weighted/{name}"] for name in weights]).sum()
        for name, weight in weights.items():
            components[f"weight/{name}"] = torch.full_like(total, weight, requires_grad=False)
        return {"total": total, **components}

    def _named(self, name: str, result: object) -> dict[str, Tensor]:
        """Name what a term returned: the term itself, and its parts if it returned any."""
        parts = result if isinstance(result, dict) else {"": result}
        for part, value in parts.items():
            if not isinstance(value, Tensor) or value.ndim != 0 or not value.is_floating_point():
                shown = f"a tensor of shape {list(value.shape)}" if isinstance(value, Tensor) else repr(value)
                raise TermError(
                    f"the term returned {shown}{f' as part {part!r}' if part else ''}; "
                    "expected a scalar tensor or a dict of scalar tensors",
                    culprit=str(self.origins[name]),
                    remedy="Reduce the loss to one number, with .mean() for example.",
                )
        if not isinstance(result, dict):
            return {name: parts[""].float()}
        named = {f"{name}/{part}": value.float() for part, value in parts.items()}
        return {name: torch.stack(list(named.values())).sum(), **named}


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

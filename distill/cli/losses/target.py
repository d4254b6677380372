"""Parsing of `distill losses profile --target`, and the weight options that it sets. Imports no torch."""

import math
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from distill.recipe import Draft


def parse_target(text: str, draft: "Draft") -> dict[str, float]:
    """Parse shares such as `stft=0.6,recon=0.3`; return them by canonical name, scaled to a sum of 1.

    Raises:
        ConfigError: the text is not valid. The error lists all problems.
    """
    from distill.config import suggest
    from distill.errors import ConfigError

    if draft.balancer is not None:
        raise ConfigError(
            f"the balancer '{draft.balancer.name}' sets the weights, so that no others can be chosen",
            culprit="--target",
            remedy="Leave it out, or measure a run that was trained without --balance.",
        )
    terms = {name: term for term in draft.terms for name in term.names}
    shares: dict[str, float] = {}
    problems: list[str] = []
    for part in text.split(","):
        name, _, written = (word.strip() for word in part.partition("="))
        share = _number(written)
        if name not in terms:
            listing = ", ".join(" or ".join(term.names) for term in draft.terms)
            problems.append(f"'{name}' is no term of this loss; expected {listing}{suggest(name, terms)}")
        elif not 0 < share < math.inf:
            problems.append(f"'{name}' needs a share above 0, got '{written}'")
        elif terms[name].name in shares:
            problems.append(f"'{terms[name].name}' is given twice")
        elif weight_per_unit(draft, terms[name].name) == 0:
            address = address_of(draft, terms[name].name)
            problems.append(f"'{name}' has no weight at the end of a training run, whatever {address} is")
        else:
            shares[terms[name].name] = share
    if len(shares) < 2 and not problems:
        problems.append("shares need two terms or more")
    if problems:
        example = ",".join(f"{term.names[-1]}=1" for term in draft.terms)
        raise ConfigError(
            *problems, culprit="--target", remedy=f"Only their ratios count. For example: --target {example}"
        )
    return {name: share / sum(shares.values()) for name, share in shares.items()}


def _number(written: str) -> float:
    try:
        return float(written)
    except ValueError:
        return math.nan


def address_of(draft: "Draft", name: str) -> str:
    """Return the address of the option that sets a term's weight."""
    return f"loss.{name}.{getattr(draft.recipe.loss, name).weight_option}"


def weight_per_unit(draft: "Draft", name: str) -> float:
    """Return the weight that a term has at the end of a training run if the option that sets it is 1."""
    config = getattr(draft.recipe.loss, name)
    value = getattr(config, config.weight_option)
    if value == 0:
        return attrs.evolve(config, **{config.weight_option: 1.0}).weight_at(1.0)
    return config.weight_at(1.0) / value

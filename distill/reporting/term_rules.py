"""The rules of the verdict on loss terms. `docs/report.md` describes each. Loads no torch.

Terms are judged by their share of the gradient where it was measured, since that is what changes the model.
"""

import shlex
from collections.abc import Iterator

import numpy as np

from distill.config.words import percentage, whole_percentage
from distill.reporting.findings import FEWEST_MEASUREMENTS, Evidence, Finding
from distill.reporting.history import History
from distill.reporting.shares import Cosines, cosines_of, gradient_shares_of, shares_of

DEAD, DOMINANT = 0.001, 0.95
"""The shares below which a term has no influence, and above which it dominates, as while training."""

AGAINST = -0.1
"""The mean cosine with the gradients of the other terms below which a term is said to work against them.

The cosines of the built-in terms were within 0.06 of 0 in a run of 120 steps on the demo corpus.
"""

_ASK = "To find weights for the shares that you want:"


def judge_terms(evidence: Evidence) -> Iterator[Finding]:
    """Judge each term of the loss."""
    history = evidence.history
    profile = f"distill losses profile --run {shlex.quote(evidence.folder)}"
    gradients = gradient_shares_of(history.gradient_shares)
    values = shares_of(history)
    if values is None or (gradients is None and len(values.steps) < FEWEST_MEASUREMENTS):
        return
    shares = (gradients or values).at_the_end()
    for name, weight in history.weights.items():
        if not weight.finite.any():
            yield Finding(
                rule="switched off",
                grade="note",
                title=f"{name} is only watched",
                because="Its weight is 0 in every record.",
            )
        elif name not in shares:
            continue
        elif gradients is not None:
            yield from _by_gradient(name, shares, profile)
        else:
            yield from _by_value(name, shares, profile)
    yield from _constant(history)
    if cosines := cosines_of(history):
        yield from _against(cosines, shares, profile)


def _by_gradient(name: str, shares: dict[str, float], profile: str) -> Iterator[Finding]:
    share = shares[name]
    if share == 0:
        yield Finding(
            rule="no gradient",
            grade="note",
            title=f"{name} does not change the model",
            because="It has a weight, and its gradient with respect to all that is trained is 0.",
            advice="A term of the latents, such as kl, acts on the encoder only, which a run from the base "
            "model does not train unless training.encoder_rate is above 0. Else leave the term out.",
        )
    elif share < DEAD:
        yield Finding(
            rule="dead term",
            grade="warning",
            title=f"{name} has almost no part in the gradient",
            because=f"It has {share:.2%} of the gradient in the last quarter, less than {DEAD:.1%}.",
            advice=f"Raise its weight, or leave it out. {_ASK}",
            command=f"{profile} --target ...",
        )
    elif share > DOMINANT and len(shares) > 1:
        yield Finding(
            rule="dominant term",
            grade="warning",
            title=f"{name} dominates the gradient",
            because=f"It has {percentage(share)} of the gradient in the last quarter, more than "
            f"{DOMINANT:.0%}, so that the other terms change little.",
            advice="Lower its weight, or let weights be shares of the gradient with --balance gradient. "
            f"{_ASK}",
            command=f"{profile} --target ...",
        )


def _by_value(name: str, shares: dict[str, float], profile: str) -> Iterator[Finding]:
    share = shares[name]
    if share < DEAD:
        yield Finding(
            rule="dead term",
            grade="warning",
            title=f"{name} has almost no part in the loss",
            because=f"Its weighted value is {share:.2%} of the sum in the last quarter, less than "
            f"{DEAD:.1%}.",
            advice="Raise its weight, or leave it out. Its share of the gradient may be larger than its "
            "share of the value:",
            command=profile,
        )
    elif share > DOMINANT and len(shares) > 1:
        yield Finding(
            rule="dominant term",
            grade="warning",
            title=f"{name} dominates the loss",
            because=f"Its weighted value is {whole_percentage(share)} of the sum in the last quarter, more "
            f"than {DOMINANT:.0%}.",
            advice="Lower its weight, or ask for shares of the gradient with --balance gradient. See what "
            "each term contributes to the gradient:",
            command=profile,
        )


def _constant(history: History) -> Iterator[Finding]:
    for name in history.weights:
        values = history.train[name].finite if name in history.train else np.zeros(0)
        if len(values) >= FEWEST_MEASUREMENTS and np.ptp(values) == 0:
            yield Finding(
                rule="constant term",
                grade="warning",
                title=f"{name} never changes",
                because=f"It is {values[0]:.4g} in all of {len(values)} records.",
                advice="Check the term on sounds:",
                command=f"distill losses check {shlex.quote(name)}",
            )


def _against(cosines: Cosines, shares: dict[str, float], profile: str) -> Iterator[Finding]:
    found = {name: mean for name, mean in cosines.with_others().items() if mean < AGAINST}
    if len(cosines.names) == 2 and found:  # each is against the other: the one with less of the gradient
        name = min(found, key=lambda each: shares.get(each, 0.0))
        found = {name: found[name]}
    for name, mean in found.items():
        yield Finding(
            rule="opposed term",
            grade="warning",
            title=f"{name} works against the other terms",
            because=f"The mean cosine between its gradient and theirs is {mean:z.2f} in the last quarter, "
            f"below {AGAINST:g}: what lowers it raises the others.",
            advice="Lower its weight until the others fall as they do without it, or leave it out. If the "
            "conflict is wanted, as that between kl and a reconstruction, choose its share of the gradient:",
            command=f"{profile} --target ...",
        )

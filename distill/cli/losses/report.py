"""The output of `distill losses profile`, as plain data and as tables."""

import math
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import click

from distill.cli.losses.target import address_of, weight_per_unit

if TYPE_CHECKING:
    from distill.recipe import Draft
    from distill.training.profiling import Profile


def record_of(profile: "Profile", draft: "Draft", shares: Mapping[str, float]) -> dict[str, Any]:
    """Return all measurements as plain data."""
    gradients = profile.gradients
    weights = {term.name: getattr(draft.recipe.loss, term.name).weight_at(1.0) for term in draft.terms}
    norms, sizes = gradients.norms(), gradients.sizes(weights)
    terms = [
        {
            "name": name,
            "value": cost.value,
            "forward_ms": cost.forward,
            "backward_ms": cost.backward,
            "weight": weights[name],
            "measured_at": "output" if name in gradients.reaching else "posterior",
            "norm": norms[name],
            "gradient": sizes[name],
            "share": _part(sizes, name),
            "changes_nothing": profile.keeps_latents and name not in gradients.reaching,
        }
        for name, cost in profile.costs.items()
    ]
    pairs = [(pair, gradients.cosine(*pair)) for pair in combinations(gradients.names, 2)]
    cosines = [{"terms": pair, "cosine": None if math.isnan(value) else value} for pair, value in pairs]
    record = {
        "clips": len(gradients.output),
        "balancer": draft.balancer and draft.balancer.name,
        "terms": terms,
        "cosines": cosines,
    }
    if not shares:
        return record
    named = {name: sizes[name] for name in shares}
    found = gradients.weights_for(shares, weights)
    options = {
        address_of(draft, name): float(f"{weight / weight_per_unit(draft, name):.4g}")
        for name, weight in found.items()
    }
    target = {
        "wanted": shares,
        "now": {name: _part(named, name) for name in named},
        "weights": options,
        "left_out": [name for name in weights if name not in shares],
    }
    return record | {"target": target}


def _part(sizes: Mapping[str, float], name: str) -> float:
    return sizes[name] / (sum(sizes.values()) or 1.0)


def print_record(record: Mapping[str, Any]) -> None:
    """Print the result of `record_of` as tables."""
    terms = record["terms"]
    width = max(len(term["name"]) for term in terms)
    head = f"{'':{width}}{'value':>10}{'forward ms':>12}{'backward ms':>13}{'weight':>10}{'gradient':>11}"
    click.echo(f"{head}{'share':>8}")
    for term in terms:
        click.echo(
            f"{term['name']:{width}}{term['value']:10.4g}{term['forward_ms']:12.1f}{term['backward_ms']:13.1f}"
            f"{term['weight']:10.4g}{term['gradient']:11.2e}{term['share']:8.1%}"
        )
    click.echo()
    _say(
        f"Means over {record['clips']} clips, with the weights at the end of a training run. Times are "
        "medians of each term computed alone, after a warm-up. A gradient is the weight times the norm at "
        "the decoder's output, averaged over clips. A share is the part of the sum of the gradients."
    )
    inner = ", ".join(term["name"] for term in terms if term["measured_at"] == "posterior")
    if inner:
        _say(
            f"Measured at the posterior, not at the output: {inner}. The gradient is scaled by the ratio of "
            "the other terms' gradients at the output and at the posterior."
        )
    still = ", ".join(term["name"] for term in terms if term["changes_nothing"])
    if still:
        _say(
            f"Changes nothing, whatever its share, since training keeps the encoder: {still}. "
            "training.encoder_rate = 1 trains it."
        )
    if record["balancer"]:
        _say(f"Weights are those of the recipe, without the changes by the balancer '{record['balancer']}'.")
    if len(terms) > 1:
        _print_cosines([term["name"] for term in terms], record["cosines"], width)
    if "target" in record:
        _print_target(record["target"], width)


def _print_cosines(names: Sequence[str], cosines: Sequence[Mapping[str, Any]], width: int) -> None:
    known = {tuple(each["terms"]): each["cosine"] for each in cosines}
    columns = [max(len(name), 5) + 2 for name in names]
    heads = "".join(f"{name:>{column}}" for name, column in zip(names, columns, strict=True))
    click.echo(f"\n{'cosine':{width}}{heads}")
    for row in names:
        cells = [1.0 if row == name else known.get((row, name), known.get((name, row))) for name in names]
        shown = ["-" if cell is None else f"{cell:z.2f}" for cell in cells]
        line = "".join(f"{cell:>{column}}" for cell, column in zip(shown, columns, strict=True))
        click.echo(f"{row:{width}}{line}")


def _print_target(target: Mapping[str, Any], width: int) -> None:
    click.echo(f"\n{'':{width}}{'share now':>11}{'wanted':>8}")
    for name, share in target["wanted"].items():
        click.echo(f"{name:{width}}{target['now'][name]:11.1%}{share:8.1%}")
    if target["left_out"]:
        left_out = ", ".join(target["left_out"])
        _say(f"Shares are those among these terms. Left out, with unchanged weight: {left_out}.")
    click.echo("\nWeights for these shares:")
    click.secho(
        " ".join(f"--set {address}={value:g}" for address, value in target["weights"].items()), bold=True
    )


def _say(text: str) -> None:
    click.echo(textwrap.fill(text, min(shutil.get_terminal_size().columns, 100)))

"""Differences between the recipes of runs, by address. Loads no torch."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from distill.config import flatten
from distill.config.words import join, show_briefly

_LOSS, _LAST = "loss", "provenance"


@frozen(kw_only=True)
class Difference:
    """An option that differs: its address, and its value in each run as text, None where it is not set."""

    address: str
    values: tuple[str | None, ...]


def recipe_differences(trees: Sequence[Mapping[str, Any]]) -> tuple[Difference, ...]:
    """Return the differences between recipes, given as plain data, in their order; the provenance is last.

    A term that some runs do not have is one difference, and so is each of its options that differs between
    those that have it.
    """
    flat = [{address: _text(value) for address, value in flatten(tree).items()} for tree in trees]
    loss = [_terms(tree) for tree in trees]
    terms = {name: None for each in loss for name in each}
    rows = [
        Difference(address=join(_LOSS, name), values=values)
        for name in terms
        if None in (values := tuple("used" if name in each else None for each in loss))
    ]
    absent = tuple(
        join(table, name)
        for name in terms
        if not all(name in each for each in loss)
        for table in (_LOSS, _LAST)
    )
    everywhere = {name: None for each in flat for name in each}
    addresses = sorted(everywhere, key=lambda name: name.startswith(_LAST))
    for address in addresses:
        values = tuple(each.get(address) for each in flat)
        of_absent = any(address == each or address.startswith(f"{each}.") for each in absent)
        compared = {*values} - {None} if of_absent else {*values}
        if len(compared) > 1:
            rows.append(Difference(address=address, values=values))
    return tuple(rows)


def _terms(tree: Mapping[str, Any]) -> tuple[str, ...]:
    loss = tree.get(_LOSS)
    return tuple(loss) if isinstance(loss, Mapping) else ()


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, default=str)
    except (ValueError, RecursionError):  # a number of thousands of digits, or lists in lists
        return show_briefly(value)

"""Differences between the recipes of runs, by address. Loads no torch."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attrs import frozen

from distill.config.words import show_briefly

_BARE = re.compile(r"[A-Za-z0-9_-]+")
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
    flat = [dict(_flat(tree, "")) for tree in trees]
    loss = [_terms(tree) for tree in trees]
    terms = {name: None for each in loss for name in each}
    rows = [
        Difference(address=f"{_LOSS}.{_key(name)}", values=values)
        for name in terms
        if None in (values := tuple("used" if name in each else None for each in loss))
    ]
    absent = tuple(
        f"{table}.{_key(name)}{end}"
        for name in terms
        if not all(name in each for each in loss)
        for table, end in ((_LOSS, "."), (_LAST, ""))
    )
    everywhere = {name: None for each in flat for name in each}
    addresses = sorted(everywhere, key=lambda name: name.startswith(_LAST))
    for address in addresses:
        values = tuple(each.get(address) for each in flat)
        compared = {*values} - {None} if address.startswith(absent) else {*values}
        if len(compared) > 1:
            rows.append(Difference(address=address, values=values))
    return tuple(rows)


def _terms(tree: Mapping[str, Any]) -> tuple[str, ...]:
    loss = tree.get(_LOSS)
    return tuple(loss) if isinstance(loss, Mapping) else ()


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _flat(tree: Mapping[str, Any], before: str) -> Iterator[tuple[str, str]]:
    """Yield the address and the text of each value of a tree."""
    for key, value in tree.items():
        address = before + _key(key)
        if isinstance(value, Mapping):
            yield from _flat(value, f"{address}.")
        else:
            yield address, value if isinstance(value, str) else _text(value)


def _text(value: object) -> str:
    try:
        return json.dumps(value, default=str)
    except (ValueError, RecursionError):  # a number of thousands of digits, or lists in lists
        return show_briefly(value)

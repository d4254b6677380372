"""The seeds of an ablation. Loads no torch."""

from collections.abc import Iterable

from distill.arguments import whole_number
from distill.config.settings import MOST_SEED
from distill.errors import InputError

_MOST_SEEDS = 10_000
_MOST_DIGITS, _MOST_SHOWN = 100, 60
"""Of a seed as text, and of text in a message."""


def parse_seeds(seeds: object) -> tuple[int, ...]:
    """Return seeds: so many from 0 on, or those of a sequence or of text with commas.

    Raises:
        InputError: they are neither, there is none, or one is given twice.
    """
    if isinstance(seeds, str):
        words = [word.strip() for word in seeds.split(",")]
        digits = all(word.isascii() and word.isdigit() and len(word) < _MOST_DIGITS for word in words if word)
        if not digits or not any(words):
            raise _not_seeds(seeds)
        listed: object = [int(word) for word in words if word] if "," in seeds else int(seeds)
    else:
        listed = seeds
    if isinstance(listed, Iterable):
        found = tuple(whole_number(each, culprit="seeds", least=0, below=MOST_SEED + 1) for each in listed)
    else:
        found = tuple(range(whole_number(listed, culprit="seeds", least=1, below=_MOST_SEEDS + 1)))
    if not found:
        raise _not_seeds(seeds)
    if len(set(found)) < len(found):
        raise InputError("a seed is given twice", culprit="seeds", remedy="Pass each seed once.")
    return found


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}\N{HORIZONTAL ELLIPSIS}"


def _not_seeds(seeds: object) -> InputError:
    return InputError(
        f"expected the number of seeds, or seeds, got {_cut(repr(seeds))}",
        culprit="seeds",
        remedy="For example 3 for the seeds 0, 1 and 2, or 7,8,9 for these.",
    )

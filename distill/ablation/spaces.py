"""The search space: the range or the values that each option is drawn from. Loads no torch."""

from collections.abc import Mapping
from typing import Any, TypeAlias

from attrs import frozen

from distill.ablation.choices import Choices, Range
from distill.ablation.plan import CommonRecipe
from distill.config import assign
from distill.errors import ConfigError


@frozen(kw_only=True)
class WholeNumbers:
    """The whole numbers of a range."""

    low: int
    high: int
    logarithmic: bool


Space: TypeAlias = Mapping[str, Range | WholeNumbers | tuple[Any, ...]]
"""What each option is drawn from, by address: a range, whole numbers, or several values."""


def make_space(common: CommonRecipe, choices: Choices, seed: int) -> Space:
    """Return the range or the values of each option, after checking the ends of ranges and each value.

    Raises:
        ConfigError: there is no range and no option of several values, or a value is not valid. All problems
            are listed.
    """
    if not choices.ranges and not choices.grid:
        raise ConfigError(
            "no range is given",
            culprit="search",
            remedy="Pass one, such as: --set loss.stft.weight=0.1..10",
        )
    common.require_set_once(choices, common.draft((), seed).terms)
    space: dict[str, Range | WholeNumbers | tuple[Any, ...]] = dict(choices.grid)
    for address, bounds in choices.ranges:
        space[address] = _whole_numbers(common, address, bounds, seed) or bounds
    problems = list[str]()
    for address, drawn_from in space.items():
        for value in drawn_from if isinstance(drawn_from, tuple) else (drawn_from.low, drawn_from.high):
            try:
                common.draft(((address, value),), seed)
            except ConfigError as error:
                problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise ConfigError(*problems)
    return space


def to_plain(space: Space) -> dict[str, Any]:
    """Return tables for JSON with the values of each option, or the ends of its range."""
    tables: dict[str, Any] = {}
    for address, drawn_from in space.items():
        ends = drawn_from if isinstance(drawn_from, tuple) else (drawn_from.low, drawn_from.high)
        assign(tables, address, list(ends))
    return tables


def _whole_numbers(common: CommonRecipe, address: str, bounds: Range, seed: int) -> WholeNumbers | None:
    """Return a range of whole numbers if the option takes only these."""
    if not (bounds.low.is_integer() and bounds.high.is_integer()):
        return None
    try:
        common.draft(((address, bounds.low + 0.5),), seed)
    except ConfigError:
        return WholeNumbers(low=int(bounds.low), high=int(bounds.high), logarithmic=bounds.logarithmic)
    return None

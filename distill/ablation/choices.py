"""Options of `--set` in an ablation: one value, several values, or a range. Loads no torch."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from attrs import field, frozen

from distill.arguments import finite_number, is_equal, options_by_address, shown
from distill.config import Given, parse_assignment, parse_assignments, set_twice
from distill.errors import ConfigError, InputError, shortened

Options: TypeAlias = tuple[tuple[str, Any], ...]
"""Values by address."""

_NUMBER = r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})")


@frozen
class Range:
    """The numbers from `low` to `high`: drawn by their logarithm if both are positive, else evenly."""

    low: float
    high: float

    @property
    def logarithmic(self) -> bool:
        """Whether numbers are drawn by their logarithm."""
        return self.low > 0

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}"


@frozen(kw_only=True)
class Choices:
    """The options of an ablation: `fixed` ones, the `grid` of several values, and `ranges` to search."""

    fixed: Options = ()
    grid: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    ranges: tuple[tuple[str, Range], ...] = field(default=())

    @property
    def reference(self) -> list[Given]:
        """The first value of each option in the grid."""
        return [_tried(address, values) for address, values in self.grid]

    @property
    def varied(self) -> list[Given]:
        """The options that are varied."""
        ranges = {address: (each.low, each.high) for address, each in self.ranges}
        return [*_varied(dict(self.grid), ranges).values()]


def parse_choices(assignments: Iterable[str]) -> Choices:
    """Return the choices that the words after `--set` describe.

    `PATH=VALUE` is a fixed option, `PATH=A,B,C` several values, and `PATH=LOW..HIGH` a range. A list in
    brackets is one value, and so is text in quotation marks.

    Raises:
        ConfigError: a word is not of this form, an address is set twice, a value is given twice, or a
            range is empty.
    """
    fixed: list[tuple[str, Any]] = []
    grid: dict[str, tuple[Any, ...]] = {}
    ranges: dict[str, tuple[Any, Any]] = {}
    words, problems = list(assignments), list[str]()
    for word, (address, value) in zip(words, parse_assignments(words), strict=True):
        unquoted = isinstance(value, str) and value == word.partition("=")[2].strip()
        before = _varied(grid, ranges).get(address)
        if unquoted and (found := _RANGE.fullmatch(value)):
            ranges[address] = (float(found[1]), float(found[2]))
        elif unquoted and len(parts := list(_parts(value))) > 1:
            grid[address] = tuple(parse_assignment(f"{address}={part}")[1] for part in parts)
        else:
            fixed.append((address, value))
            continue
        if before is not None:
            problems.append(set_twice(address, before, Given(address, None, written=value)))
    return choices_of(fixed, grid, ranges, problems=problems, culprit="--set")


def choices_of(
    options: Mapping[str, Any] | Iterable[tuple[str, Any]],
    grid: Mapping[str, Sequence[Any]],
    ranges: Mapping[str, tuple[float, float]],
    *,
    problems: Sequence[str] = (),
    culprit: str = "",
) -> Choices:
    """Return options by address, values by address, and pairs of bounds by address, after checking them.

    `problems` are those that are known already. Raises:
        ConfigError: an address is set twice, a value is given twice or missing, or a range is empty.
        InputError: the arguments are of other types.
    """
    fixed = tuple(options_by_address(options, culprit="options"))
    for name, given in (("grid", grid), ("ranges", ranges)):
        if not isinstance(given, Mapping) or not all(isinstance(address, str) for address in given):
            raise InputError(f"expected a dict by the address of an option, got {shown(given)}", culprit=name)
    problems, varied = list(problems), _varied(grid, ranges)
    problems += [set_twice(name, Given(name, value), varied[name]) for name, value in fixed if name in varied]
    problems += [set_twice(name, _tried(name, grid[name]), varied[name]) for name in grid if name in ranges]
    several = {address: _values(address, values, problems) for address, values in grid.items()}
    bounds = {address: _bounds(address, pair, problems) for address, pair in ranges.items()}
    if problems:
        raise ConfigError(*problems, culprit=culprit)
    return Choices(
        fixed=fixed,
        grid=tuple(several.items()),
        ranges=tuple((address, pair) for address, pair in bounds.items() if pair is not None),
    )


def _varied(grid: Mapping[str, Any], ranges: Mapping[str, Any]) -> dict[str, Given]:
    return {
        **{address: _tried(address, values) for address, values in grid.items()},
        **{address: Given(address, bounds, written=_in_words(bounds)) for address, bounds in ranges.items()},
    }


def _tried(address: str, values: Any) -> Given:  # noqa: ANN401  # anything
    """Return the values that are tried, of which the first is that of the reference."""
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        return Given(address, values)
    return Given(address, values[0], written=shortened([*map(shown, values)]))


def _in_words(pair: Any) -> str:  # noqa: ANN401  # anything
    with suppress(OverflowError, TypeError, ValueError):
        return str(Range(*pair))
    return shown(pair)


def _values(address: str, values: Any, problems: list[str]) -> tuple[Any, ...]:  # noqa: ANN401  # anything
    if isinstance(values, str | bytes) or not isinstance(values, Sequence) or not values:
        problems.append(f"{address}: expected several values, got {shown(values)}")
        return ()
    twice = [
        value
        for number, value in enumerate(values)
        if any(is_equal(value, before) for before in values[:number])
    ]
    if twice:
        problems.append(f"{address}: {shown(twice[0])} is given twice")
    if any(is_equal(value, "") for value in values):
        problems.append(f"{address}: a value is empty")
    return tuple(values)


def _bounds(address: str, pair: Any, problems: list[str]) -> Range | None:  # noqa: ANN401  # anything
    try:
        low, high = (finite_number(each, culprit=address) for each in pair)
    except (InputError, TypeError, ValueError):
        problems.append(f"{address}: expected finite bounds of a range, (low, high), got {shown(pair)}")
        return None
    if not low < high:
        problems.append(f"{address}: a range goes from a lower number to a higher one, got {low:g}..{high:g}")
    return Range(low, high)


def _parts(text: str) -> Iterator[str]:
    """Yield the parts of text between commas that are in no brackets and no quotation marks."""
    depth, quote, start = 0, "", 0
    for position, letter in enumerate(text):
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "[{":
            depth += 1
        elif letter in "]}":
            depth -= 1
        elif letter == "," and not depth:
            yield text[start:position].strip()
            start = position + 1
    yield text[start:].strip()

"""Options as the user gave them, and the problem of one that is given twice."""

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from attrs import field, frozen

from distill.arguments import absolute, is_equal, is_url, shown
from distill.config.toml import flatten


@frozen
class Given:
    """A value that the user gave an option.

    Attributes:
        address: the address, as the user gave it.
        value: the value.
        argument: the argument that has this address, such as `steps`, empty for an option by its address.
        written: the value for a message, such as all values that are tried in turn.
    """

    address: str
    value: Any
    argument: str = ""
    written: str = field()

    @written.default
    def _shown(self) -> str:
        return shown(self.value)

    @property
    def place(self) -> str:
        """Where the value was given, in words."""
        return f"the argument {self.argument}" if self.argument else f"'{self.address}'"

    def is_same(self, other: "Given", option: str) -> bool:
        """Return whether another value of an option is the same. The path of the corpus may be relative."""
        one, two = (_absolute(each.value) if option == _CORPUS else each.value for each in (self, other))
        return is_equal(one, two)


Assignment: TypeAlias = Given | tuple[str, Any]
"""A value of an option, or a pair of its address and its value."""

_CORPUS = "corpus.path"


def as_given(assignments: Iterable[Assignment]) -> list[Given]:
    """Return assignments as `Given`."""
    return [each if isinstance(each, Given) else Given(*each) for each in assignments]


def given_arguments(values: Mapping[str, Any]) -> list[Given]:
    """Return arguments by the addresses of their options, without those that are None."""
    return [
        Given(address, value, argument="corpus" if address == _CORPUS else address.rpartition(".")[2])
        for address, value in values.items()
        if value is not None
    ]


def leaves_of(given: Given, place: str) -> dict[str, Given]:
    """Return the values that are set by one at a place, by their places: those of a table, or the one."""
    values = flatten(given.value, place) if isinstance(given.value, Mapping) else {}
    return {leaf: Given(given.address, each) for leaf, each in values.items()} or {place: given}


def set_twice(option: str, one: Given, other: Given) -> str:
    """Return the problem that an option is set by two arguments or assignments: both values and places."""
    ways = [f"to {each.written}" for each in (one, other)]
    if one.place != other.place:
        ways = [f"{way} as {each.place}" for way, each in zip(ways, (one, other), strict=True)]
    return f"{option}: is set twice, {' and '.join(ways)}; set it once"


def _absolute(value: Any) -> Any:  # noqa: ANN401  # anything
    return absolute(value) if isinstance(value, str) and not is_url(value) else value

"""Options as the user gave them, and the problem of one that is given twice."""

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from attrs import evolve, field, frozen

from distill.arguments import absolute, is_equal, is_url, shown
from distill.config.toml import assign, flatten, too_deep
from distill.errors import ConfigError


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
    """Return assignments as `Given`, without those that a later one by the same address replaces."""
    given = [each if isinstance(each, Given) else Given(*each) for each in assignments]
    return list({each.place: each for each in given}.values())


def given_arguments(values: Mapping[str, Any]) -> list[Given]:
    """Return arguments by the addresses of their options, without those that are None."""
    return [
        Given(address, value, argument="corpus" if address == _CORPUS else address.rpartition(".")[2])
        for address, value in values.items()
        if value is not None
    ]


class Assigning:
    """The assignment of values to nested tables, in which an option has one value.

    It may be given that value several times, by any of its addresses, or in a table. `tables` are changed.
    `place_of` returns the place of an address in them, and `names` has the keys of the table at
    `section` by other names of them.
    """

    def __init__(
        self,
        tables: dict[str, Any],
        place_of: Callable[[str], str],
        *,
        section: str = "",
        names: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.tables, self._place_of = tables, place_of
        self._section, self._names = section, names
        self._made: dict[str, Given] = {}

    def assign(self, given: Given) -> None:
        """Assign a value.

        Raises:
            ConfigError: the option, or one of a table, has another value by another address, is below a
                value, or is nested too deeply.
        """
        if problems := too_deep({given.address: given.value}):
            raise ConfigError(*problems)
        place, value = self._place_of(given.address), given.value
        if place == self._section and isinstance(value, Mapping):
            value = by_name(value, self._names)
        leaves = _leaves_of(evolve(given, value=value), place)
        if isinstance(value, Mapping):  # which replaces the whole of another table
            for leaf in self._made.keys() - leaves.keys():
                if leaf.startswith(f"{place}."):
                    raise ConfigError(set_twice(leaf, self._made[leaf], given))
        for leaf, each in leaves.items():
            other = self._made.setdefault(leaf, each)
            if not other.is_same(each, leaf):
                raise ConfigError(set_twice(leaf, other, each))
        assign(self.tables, place, value)


def by_name(table: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return a table with names in the place of aliases, apart from an alias whose name is there, too."""
    return {key if names.get(key) in table else names.get(key, key): table[key] for key in table}


def _leaves_of(given: Given, place: str) -> dict[str, Given]:
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

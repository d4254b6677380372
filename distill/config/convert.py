"""Strict conversion of plain TOML data to config classes and back, reporting all problems with their paths.

Plain recursion is used instead of cattrs: it halves the import time, needs no hooks against coercion and no
rebuilding of paths from nested exception groups, and lets a table change only some options of a default.
"""

from collections.abc import Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin

import attrs
from attrs import NOTHING

from distill.config.schema import key_of, options, partial
from distill.config.validate import objections
from distill.config.words import UNIONS, join, show_briefly, suggest, type_in_words, with_article
from distill.errors import ConfigError

T = TypeVar("T")


def structure(data: Mapping[str, Any], cls: type[T], *, at: str = "") -> T:
    """Return an instance of a config class from plain data.

    Only int to float, list to tuple and str to Path are converted. If the default of an option is an attrs
    instance, a table changes the options it names and keeps the others of that default. An instance of the
    expected class is returned unchanged.

    Args:
        data: Plain TOML data: tables, lists, strings, numbers, booleans.
        cls: An attrs class; options may be nested attrs classes, int, float, str, bool, Path, Literal,
            tuples, `dict[str, ...]`, and unions of these with None.
        at: Dotted path of `data` in the whole, prefixed to every path in an error.

    Raises:
        ConfigError: An option is unknown, missing, ill-typed or invalid. `problems` has a line for each.
    """
    reader = _Reader()
    instance = reader.read(data, cls, at, NOTHING)
    if reader.problems:
        raise ConfigError(*reader.problems)
    return cast("T", instance)


def unstructure(instance: attrs.AttrsInstance) -> dict[str, Any]:
    """Return an attrs instance as plain TOML data, from which `structure` returns an equal instance.

    Tuples become lists, and paths strings. Options that are None are omitted.

    Raises:
        ConfigError: An option is None, but omitting it has another meaning.
    """
    return cast("dict[str, Any]", plain(instance))


def plain(value: Any, left_out: object = NOTHING, path: str = "") -> Any:  # noqa: ANN401 - data of any type
    """Return a value as plain TOML data. `left_out` is the value of the option if it is omitted."""
    if value is None:
        raise ConfigError(
            f"{path}: None cannot be written as TOML, and leaving it out means {show_briefly(left_out)}",
            remedy="Its author can make None the default.",
        )
    if attrs.has(type(value)):
        defaults = partial(type(value), {}, left_out)
        table = {}
        for option in options(type(value)):
            item, default = getattr(value, option.name), getattr(defaults, option.name, NOTHING)
            if item is not None or default is not None:
                key = key_of(option)
                table[key] = plain(item, default, join(path, key))
        return table
    if isinstance(value, Mapping):
        return {key: plain(item, path=join(path, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, path=f"{path}[{index}]") for index, item in enumerate(value)]
    return str(value) if isinstance(value, Path) else value


def _fits(value: object, type_: object) -> bool:
    if type_ is int:  # TOML's have 64 bits
        return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63
    if type_ is float:
        exact = _fits(value, int) and abs(cast("int", value)) <= 2**53
        return exact or (isinstance(value, float) and value == value)  # noqa: PLR0124 - nan is no number
    if type_ is Path:
        return isinstance(value, str | Path)
    if get_origin(type_) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(type_))
    return type_ is Any or (isinstance(type_, type) and isinstance(value, type_))


class _Reader:
    """Reads values as annotated types and collects the problems. An invalid value is read as NOTHING."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def read(self, value: Any, type_: Any, path: str, default: object) -> Any:  # noqa: ANN401 - of any type
        origin = get_origin(type_)
        if attrs.has(type_):
            return self._read_class(value, type_, path, default)
        if origin in UNIONS:
            return self._read_union(value, type_, path, default)
        if origin is tuple and isinstance(value, list | tuple):
            return self._read_tuple(value, type_, path)
        if origin is dict and isinstance(value, Mapping):
            of = get_args(type_)[1]
            read = {key: self.read(item, of, join(path, key), NOTHING) for key, item in value.items()}
            return NOTHING if NOTHING in read.values() else read
        if _fits(value, type_):
            return type_(value) if type_ in (float, Path) else value
        return self._refuse(value, type_, path)

    def _refuse(self, value: object, type_: object, path: str) -> Any:  # noqa: ANN401 - NOTHING has no type
        known = [choice for choice in get_args(type_) if isinstance(choice, str)]
        hint = suggest(value, known) if isinstance(value, str) else ""
        expected = with_article(type_in_words(type_))
        if type_ is int and isinstance(value, int) and not isinstance(value, bool):
            expected += " of 64 bits"
        self._report(path, f"expected {expected}, got {show_briefly(value)}{hint}")
        return NOTHING

    def _report(self, path: str, problem: str) -> None:
        self.problems.append(f"{path}: {problem}" if path else problem)

    def _read_union(self, value: object, type_: object, path: str, default: object) -> Any:  # noqa: ANN401
        members = [member for member in get_args(type_) if member is not NoneType]
        if value is None and NoneType in get_args(type_):
            return None
        for member in members:
            attempt = _Reader()
            read = attempt.read(value, member, path, default)
            if not attempt.problems:
                return read
        if len(members) == 1:
            self.problems += attempt.problems
            return NOTHING
        return self._refuse(value, type_, path)

    def _read_tuple(self, value: list[Any] | tuple[Any, ...], type_: object, path: str) -> Any:  # noqa: ANN401
        members = get_args(type_)
        if members[-1] is Ellipsis:
            members = members[:1] * len(value)
        if len(members) != len(value):
            return self._refuse(value, type_, path)
        pairs = enumerate(zip(value, members, strict=True))
        read = tuple(self.read(item, member, f"{path}[{at}]", NOTHING) for at, (item, member) in pairs)
        return NOTHING if NOTHING in read else read

    def _read_class(self, value: Any, cls: type[Any], path: str, base: object) -> Any:  # noqa: ANN401
        if isinstance(value, cls):
            return value
        if not isinstance(value, Mapping):
            return self._refuse(value, cls, path)
        before = len(self.problems)
        given = self._read_options(value, cls, path, base)
        instance = partial(cls, given, base)
        failure = None
        if len(self.problems) == before:
            arguments = {key_of(option): getattr(instance, option.name) for option in options(cls)}
            try:
                return cls(**arguments)
            except (TypeError, ValueError) as error:
                failure = error
        objected = list(objections(instance, value, path))
        self.problems += objected
        if failure and not objected:
            if not isinstance(failure, ValueError):
                raise failure
            self._report(path, str(failure))
        return NOTHING

    def _read_options(
        self, table: Mapping[str, Any], cls: type[Any], path: str, base: object
    ) -> dict[str, Any]:
        known = {key_of(option): option for option in options(cls)}
        for key in table:
            if key not in known:
                choice = f"; expected one of {', '.join(known)}" if known else "; there are none here"
                hint = suggest(str(key), known) or choice
                self._report(join(path, key), f"unknown option, got {show_briefly(table[key])}{hint}")
        defaults = partial(cls, {}, base)
        given = {}
        for key, option in known.items():
            default = getattr(defaults, option.name, NOTHING)
            if key in table:
                given[option.name] = self.read(table[key], option.type, join(path, key), default)
            elif default is NOTHING and option.default is NOTHING:
                expected = with_article(type_in_words(option.type))
                self._report(join(path, key), f"missing, expected {expected}")
        return given

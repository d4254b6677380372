"""Descriptions of types, values, names, counts and durations, for messages and option tables."""

import difflib
import math
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import attrs
import tomlkit

from distill.errors import ConfigError, printable

_LONGEST_SHOWN = 256
"""The longest whole number that is printed, in bits."""

UNIONS = (Union, types.UnionType)

_NOUNS: dict[Any, tuple[str, str]] = {
    int: ("whole number", "whole numbers"),
    float: ("number", "numbers"),
    str: ("string", "strings"),
    bool: ("true or false", "true or false values"),
    Path: ("path", "paths"),
    Any: ("value", "values"),
}


def duration_in_words(seconds: float, *, digits: int = 0) -> str:
    """Return a duration in seconds, from two minutes on in minutes, from two hours on in hours.

    Minutes have `digits` after the point, and parts of a second one digit that is not 0.
    """
    if 0.001 <= seconds < 0.95:
        return f"{seconds:.1g} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.{digits}f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which takes an s unless there is one: "1 run", "2,000 runs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percentage(share: float) -> str:
    """Return a share in percent, with three digits: "12.5%". Only a whole is "100%"."""
    return f"{min(100 * share, 99.9) if share < 1 else 100 * share:.3g}%"


def whole_percentage(share: float) -> str:
    """Return a share in whole percents. Only nothing is "0%", and only a whole is "100%"."""
    percent = round(100 * share)
    return f"{min(max(percent, 1), 99) if 0 < share < 1 else percent}%"


def folder_in_words(folder: Path) -> str:
    """Return a folder for a sentence, whose full stop would change a folder such as `.` or `..`."""
    if folder == Path():
        return "the current folder"
    return printable(folder.resolve() if folder.name == ".." else folder)


def are(number: int) -> str:
    """Return the verb for a number of things."""
    return "is" if number == 1 else "are"


def type_in_words(type_: Any) -> str:  # noqa: ANN401 - mypy has no type for `float | None` and its like
    """Return the description of an annotation: "whole number", "list of pairs of numbers".

    Raises:
        ConfigError: Values of the annotation cannot be read from TOML.
    """
    return _singular_and_plural(type_)[0]


def with_article(noun: str) -> str:
    """Return the description of a type with the article "a", if it takes one."""
    return noun if noun.startswith(("one of ", "true or ")) else f"a {noun}"


def _singular_and_plural(type_: Any) -> tuple[str, str]:  # noqa: ANN401 - as above
    if attrs.has(type_):
        return "table", "tables"
    arguments = get_args(type_)
    match get_origin(type_):
        case None if type_ in _NOUNS:
            return _NOUNS[type_]
        case origin if origin is Literal:
            choices = "one of " + ", ".join(map(show, arguments))
            return choices, choices
        case origin if origin in UNIONS:
            # TOML has no None: the option is omitted instead.
            members = [_singular_and_plural(member) for member in arguments if member is not types.NoneType]
            first, *others = (singular for singular, _ in members)
            return " or ".join([first, *map(with_article, others)]), " or ".join(many for _, many in members)
        case origin if origin is tuple and arguments:
            return _tuple_in_words(arguments)
        case origin if origin is dict and arguments[0] is str:
            many = _singular_and_plural(arguments[1])[1]
            return f"table of {many}", f"tables of {many}"
    raise ConfigError(
        f"an option cannot be annotated {type_!r}",
        remedy="Its author can use int, float, str, bool, Path, Literal, tuple, dict[str, ...], attrs classes"
        ", and unions of these with None.",
    )


def _tuple_in_words(arguments: tuple[Any, ...]) -> tuple[str, str]:
    members, length = arguments, f"{len(arguments)} "
    if arguments[-1] is Ellipsis:
        members, length = arguments[:1], ""
    if len(set(members)) > 1:
        of = ", ".join(with_article(type_in_words(member)) for member in members)
        return f"list of {of}", f"lists of {of}"
    many = _singular_and_plural(members[0])[1]
    if len(arguments) == 2 and length:
        return f"pair of {many}", f"pairs of {many}"
    return f"list of {length}{many}", f"lists of {length}{many}"


def show(value: Any) -> str:  # noqa: ANN401 - tomlkit takes any value, and its versions type that differently
    """Return a value as TOML text, for error messages."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{join('', key)} = {show(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(show, value)) + "]"
    if isinstance(value, int) and value.bit_length() > _LONGEST_SHOWN:  # Python refuses to print 4300 digits
        return f"a number of about {round(value.bit_length() * math.log10(2))} digits"
    try:
        return tomlkit.item(value).as_string()
    except ValueError:
        return repr(value)


def show_briefly(value: object) -> str:
    """Return a value as short TOML text: long values are truncated, tables not shown."""
    if isinstance(value, Mapping):
        return "a table"
    try:
        text = show(value)
    except RecursionError:
        return "a value that is nested too deeply"
    return text if len(text) <= 60 else f"{text[:59]}…"


def join(path: str, key: object) -> str:
    """Return the dotted path of `key` within `path`, quoted as TOML quotes it."""
    name = tomlkit.key(str(key)).as_string()
    return f"{path}.{name}" if path else name


def suggest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'stft'?" with the closest known name, or "" if none is close."""
    by_lower_case = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), by_lower_case, n=1)
    return f"; did you mean '{by_lower_case[near[0]]}'?" if near else ""

"""TOML: reading files, parsing `--set`, and writing commented TOML."""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from distill.arguments import require_reachable
from distill.config.convert import unstructure
from distill.config.schema import help_of, key_of, options
from distill.config.words import join, show, show_briefly, type_in_words
from distill.errors import ConfigError, check_all

_WIDTH = 100
"""The longest line with a comment, in characters. A longer comment is put on the line above."""

_DEEPEST = 32
"""The most levels of tables and lists, far more than options have. What contains itself has no end."""


def load_toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file as plain Python data.

    Raises:
        ConfigError: The file is missing, a folder, unreadable, not UTF-8, not TOML, or nested too deeply.
        InputError: The path cannot be looked up.
    """
    require_reachable(path)
    if path.is_dir():
        raise ConfigError(
            "expected a TOML file, this is a folder",
            culprit=str(path),
            remedy=f"Name the file itself, as in {path / 'recipe.toml'}",
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(
            "no such file",
            culprit=str(path),
            remedy="Check the path, or write a recipe to start from with: distill recipe",
        ) from None
    except OSError as error:
        raise ConfigError(
            f"cannot be read: {error.strerror}",
            culprit=str(path),
            remedy="Check the path and its permissions.",
        ) from None
    except UnicodeDecodeError as error:
        line, column = _position(error)
        raise ConfigError(
            f"not UTF-8 text (at line {line}, column {column})",
            culprit=str(path),
            remedy="Save it as UTF-8.",
        ) from None
    try:
        content = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        last_line = f"at line {len(text.splitlines())}, the last"
        raise ConfigError(
            f"not valid TOML: {error}".replace("at end of document", last_line),
            culprit=str(path),
            remedy="Correct that line, or quote its text.",
        ) from None
    if problems := too_deep(content):
        raise ConfigError(*problems, culprit=str(path))
    return content


def _position(error: UnicodeDecodeError) -> tuple[int, int]:
    before = error.object[: error.start]
    return before.count(b"\n") + 1, len(before) - (before.rfind(b"\n") + 1) + 1


def parse_assignment(text: str) -> tuple[str, Any]:
    """Return the path and the value of `PATH=VALUE`. A value that is not TOML is a string.

    Raises:
        ConfigError: There is no `=`, or a name of the path is empty.
    """
    path, equals, written = text.partition("=")
    names = [name.strip() for name in path.split(".")]
    if not equals or not all(names):
        raise ConfigError(
            f"expected PATH=VALUE, got {show_briefly(text)}",
            culprit="--set",
            remedy="For example: --set loss.stft.weight=2.0",
        )
    return ".".join(names), _toml_or_string(written.strip())


def parse_assignments(texts: Iterable[str]) -> list[tuple[str, Any]]:
    """Return the paths and values of several assignments.

    Raises:
        ConfigError: Some are not valid. All of these are named.
    """
    return check_all(parse_assignment, texts)


def _toml_or_string(written: str) -> Any:  # noqa: ANN401 - any TOML value
    try:
        table = tomllib.loads(f"value = {written}")
    except (ValueError, RecursionError):
        return written
    return table["value"] if len(table) == 1 else written


def assign(tree: dict[str, Any], path: str, value: object) -> None:
    """Set the value at a dotted path in nested tables, adding missing tables. A table is copied.

    Raises:
        ConfigError: A part of the path is not a table. The tree is unchanged.
    """
    *tables, name = path.split(".")
    for depth, table in enumerate(tables, 1):
        tree = tree.setdefault(table, {})
        if not isinstance(tree, dict):
            inside = ".".join(tables[:depth])
            raise ConfigError(
                f"{inside} is {show_briefly(tree)}, not a table",
                culprit=path,
                remedy=f"Set {inside} itself, or remove it where it is set.",
            )
    tree[name] = _copied(value)


def _copied(value: Any) -> Any:  # noqa: ANN401  # anything
    return {key: _copied(each) for key, each in value.items()} if isinstance(value, Mapping) else value


def flatten(tree: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """Return the values in nested tables by their dotted path, with names quoted as TOML quotes them.

    `at` is the path of `tree`. A table without options is a value, apart from a section at the top: that is
    the same as no section.
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        path = join(at, key)
        if isinstance(value, Mapping) and (value or not at):
            flat |= flatten(value, path)
        else:
            flat[path] = value
    return flat


def too_deep(values: Mapping[str, Any]) -> list[str]:
    """Return a problem for each value by address that is nested too deeply, or contains itself."""
    return [
        f"{address}: has more than {_DEEPEST} nested levels, or contains itself"
        for address, value in values.items()
        if str(address).count(".") >= _DEEPEST or _is_too_deep(value)
    ]


def _is_too_deep(value: object) -> bool:
    level = [value] if isinstance(value, Mapping | list | tuple) else []
    for _ in range(_DEEPEST):
        members = (
            member
            for each in level
            for member in (each.values() if isinstance(each, Mapping) else each)
            if isinstance(member, Mapping | list | tuple)
        )
        # Once by identity: a table that contains itself twice would double each time.
        level = [*{id(member): member for member in members}.values()]
    return bool(level)


def no_tables(tree: Mapping[str, Any], names: Iterable[str] | None = None, at: str = "") -> list[str]:
    """Return a problem for each of these members, by default all, that is there and not a table.

    `at` is the path of `tree`.
    """
    return [
        f"{join(at, name)}: expected a table, got {show_briefly(tree[name])}"
        for name in (tree if names is None else names)
        if name in tree and not isinstance(tree[name], Mapping)
    ]


def to_toml(instance: attrs.AttrsInstance, *, header: str = "") -> str:
    """Return an attrs instance as TOML, with the help of each option as a comment.

    Nested attrs instances and dicts become tables. An option that is None is written as a comment.

    Args:
        instance: An instance as `structure` returns it.
        header: Text for a comment at the top.

    Raises:
        ConfigError: An option is None, but omitting it has another meaning.
    """
    top = ["\n".join(f"# {line}".rstrip() for line in header.splitlines())] if header else []
    return "\n\n".join([*top, *_tables(instance, unstructure(instance), "", "")]) + "\n"


@attrs.frozen
class _Entry:
    key: str
    value: Any
    plain: Any
    help: str
    type: Any

    @property
    def is_table(self) -> bool:
        return isinstance(self.plain, Mapping)

    @property
    def line(self) -> str:
        name = join("", self.key)
        if self.plain is None:
            return f"# {name} = <{type_in_words(self.type)}>"
        return f"{name} = {show(self.plain)}"


def _entries(value: Any, plain: Mapping[str, Any]) -> list[_Entry]:  # noqa: ANN401 - an instance or a dict
    if isinstance(value, Mapping):
        return [_Entry(key, item, plain[key], "", None) for key, item in value.items()]
    return [
        _Entry(key, getattr(value, option.name), plain.get(key), help_of(option), option.type)
        for option in options(type(value))
        for key in [key_of(option)]
    ]


def _tables(value: Any, plain: Mapping[str, Any], path: str, help_text: str) -> Iterator[str]:  # noqa: ANN401
    """Yield a table and then its sub-tables. A table with only sub-tables has no header."""
    entries = _entries(value, plain)
    tables = [entry for entry in entries if entry.is_table]
    lines = _aligned([entry for entry in entries if not entry.is_table])
    if path and (lines or help_text or not tables):
        lines = [*([f"# {help_text}"] if help_text else []), f"[{path}]", *lines]
    if lines:
        yield "\n".join(lines)
    for table in tables:
        yield from _tables(table.value, table.plain, join(path, table.key), table.help)


def _aligned(entries: list[_Entry]) -> list[str]:
    """Return lines with the comments in one column after the values, or above lines without room."""
    beside = [entry for entry in entries if len(f"{entry.line}  # {entry.help}") <= _WIDTH]
    longest_help = max((len(entry.help) for entry in beside), default=0)
    column = max((len(entry.line) for entry in beside if entry.help), default=0)
    column = min(column, _WIDTH - len("  # ") - longest_help)
    lines = []
    for entry in entries:
        if not entry.help:
            lines.append(entry.line)
        elif entry in beside:
            lines.append(f"{entry.line:<{column}}  # {entry.help}")
        else:
            lines += [f"# {entry.help}", entry.line]
    return lines

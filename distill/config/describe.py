"""The options of a config class as records, for `distill losses show` and the docs."""

from collections.abc import Iterator
from typing import Any

import attrs

from distill.config.bounds import bounds_in_words
from distill.config.convert import plain
from distill.config.schema import help_of, key_of, options, partial
from distill.config.words import join, type_in_words


@attrs.frozen(kw_only=True)
class Option:
    """One option. `name` is dotted in nested classes; `default` is plain TOML data.

    The default is None if the option is `required`, or if its default is None.
    """

    name: str
    type: str
    required: bool
    default: Any
    bounds: str
    help: str


def describe(cls: type[Any]) -> tuple[Option, ...]:
    """Return every option of an attrs class, including those of nested classes.

    Raises:
        ConfigError: An annotation cannot be resolved, or cannot be read from TOML.
    """
    return tuple(_describe(cls, "", None))


def _describe(cls: type[Any], path: str, base: object) -> Iterator[Option]:
    defaults = partial(cls, {}, base)
    for attribute in options(cls):
        name = join(path, key_of(attribute))
        default = getattr(defaults, attribute.name, None)
        nested: Any = type(default) if attrs.has(type(default)) else attribute.type
        if attrs.has(nested):
            yield from _describe(nested, name, default)
        else:
            yield Option(
                name=name,
                type=type_in_words(attribute.type),
                required=attribute.default is attrs.NOTHING and not hasattr(defaults, attribute.name),
                default=None if default is None else plain(default),
                bounds=bounds_in_words(attribute.validator),
                help=help_of(attribute),
            )

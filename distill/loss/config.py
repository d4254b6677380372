"""The `loss` part of a recipe: an attrs class made for the chosen terms. Loads no torch."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import attrs

from distill.config import structure, suggest
from distill.config.words import join
from distill.errors import ConfigError
from distill.plugin.registered import Term


def loss_config_class(terms: Sequence[Term]) -> type:
    """Return the class with one attribute per term: the term's config.

    Equal terms have the same class. Its instances can be pickled.
    """
    return _class_of(tuple(terms))


def values_of(config: attrs.AttrsInstance) -> dict[str, Any]:
    """Return the options of a config as arguments of its class."""
    fields = attrs.fields(type(config))
    return {field.alias or field.name: getattr(config, field.name) for field in fields if field.init}


def terms_of(config: Any) -> tuple[Term, ...]:  # noqa: ANN401  # a class made here
    """Return the terms of an instance of `TermConfigs`."""
    terms: tuple[Term, ...] = config._terms  # noqa: SLF001  # a property would be a name that no term can have
    return terms


class TermConfigs:
    """The base of the classes made here. Instances are pickled as terms and values."""

    _terms: tuple[Term, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        # The class of a term's config may be made at run time, too: only its term refers to it.
        values = {term.name: values_of(getattr(self, term.name)) for term in self._terms}
        return _rebuilt, (self._terms, values)


def _rebuilt(terms: tuple[Term, ...], values: Mapping[str, dict[str, Any]]) -> Any:  # noqa: ANN401  # made here
    return _class_of(terms)(**{term.name: term.spec.config(**values[term.name]) for term in terms})


def _with_absolute_paths(config: Any) -> Any:  # noqa: ANN401  # an attrs instance
    """Return a config with its relative paths made absolute, so that it is valid in any working directory."""
    if not attrs.has(type(config)):
        return config
    values = values_of(config)
    absolute = {name: _absolute(value) for name, value in values.items()}
    changed = {name: value for name, value in absolute.items() if value is not values[name]}
    return attrs.evolve(config, **changed) if changed else config


def _absolute(value: Any) -> Any:  # noqa: ANN401  # of any type
    if isinstance(value, Path):
        return value if value.is_absolute() else Path.cwd() / value.expanduser()
    return _with_absolute_paths(value)


@lru_cache
def _class_of(terms: tuple[Term, ...]) -> type:
    options: dict[str, Any] = {
        term.name: attrs.field(
            type=term.spec.config, converter=_with_absolute_paths, metadata={"help": term.spec.summary}
        )
        for term in terms
    }
    made = attrs.make_class("TermConfigs", options, bases=(TermConfigs,), frozen=True, kw_only=True)
    made._terms = terms  # type: ignore[attr-defined]  # noqa: SLF001  # declared by the base
    return made


def configure(terms: Sequence[Term], options: Mapping[str, Any]) -> Any:  # noqa: ANN401  # a class made here
    """Build the configs of the chosen terms from nested options, which may name a term by an alias.

    Without terms, since none of those that were asked for can be chosen, nothing is said of the options.

    Raises:
        ConfigError: An option is unknown or has an invalid value, or a term is named twice.
    """
    names = {name: term.name for term in terms for name in term.names}
    tables: dict[str, Any] = {term.name: {} for term in terms}
    given: dict[str, str] = {}
    problems: list[str] = []
    for name, table in options.items() if terms else ():
        canonical = names.get(name, name)
        if canonical in given:
            problems.append(f"loss.{name}: is set as loss.{given[canonical]} too; set it once")
            continue
        given[canonical] = name
        if canonical in tables or suggest(str(name), names):
            tables[canonical] = table
        else:
            problems.append(
                f"{join('loss', name)}: the loss has {', '.join(tables)}; add this term with --loss"
            )
    try:
        configs: Any = structure(tables, loss_config_class(terms), at="loss")
    except ConfigError as error:
        raise ConfigError(*problems, *error.problems) from None
    if problems:
        raise ConfigError(*problems)
    return configs

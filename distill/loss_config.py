"""The `loss` part of a recipe: an attrs class made for the chosen terms. Loads no torch."""

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from distill.config import structure
from distill.errors import ConfigError
from distill.registry import Term


def loss_config_class(terms: Sequence[Term]) -> type:
    """Make the class with one attribute per term, so that a term not chosen has no address."""
    options = {
        term.name: attrs.field(type=term.spec.config, metadata={"help": term.spec.summary}) for term in terms
    }
    return attrs.make_class("LossConfig", options, frozen=True, kw_only=True)


def configure(terms: Sequence[Term], options: Mapping[str, Any]) -> Any:  # noqa: ANN401  # a class made here
    """Build the configs of the chosen terms from nested options, which may name a term by an alias.

    Raises:
        ConfigError: an option is unknown or does not fit, or a term is named twice.
    """
    names = {name: term.name for term in terms for name in term.names}
    tables: dict[str, Any] = {term.name: {} for term in terms}
    given: dict[str, str] = {}
    for name, table in options.items():
        canonical = names.get(name, name)
        if canonical in given:
            raise ConfigError(f"loss.{name}: is set as loss.{given[canonical]} too; set it once")
        given[canonical] = name
        tables[canonical] = table
    return structure(tables, loss_config_class(terms), at="loss")

"""The options of a config class: their types, and their values when omitted."""

from collections.abc import Mapping
from typing import Any, TypeAlias, get_args

import attrs

from distill.config.words import type_in_words
from distill.errors import ConfigError

Attribute: TypeAlias = "attrs.Attribute[Any]"


def options(cls: type[Any]) -> tuple[Attribute, ...]:
    """Return the attributes that the `__init__` of an attrs class takes, with resolved types.

    Raises:
        ConfigError: An annotation cannot be resolved, or cannot be read from TOML.
    """
    where = f"{cls.__module__}.{cls.__qualname__}"
    try:
        attrs.resolve_types(cls, include_extras=False)
    except NameError as error:
        raise ConfigError(
            f"an annotation cannot be resolved: {error}",
            culprit=where,
            remedy="Its author can import the name at run time, not only under TYPE_CHECKING.",
        ) from error
    found = tuple(attribute for attribute in attrs.fields(cls) if attribute.init)
    for attribute in found:
        try:
            type_in_words(attribute.type)
        except ConfigError as error:
            raise ConfigError(
                *error.problems, culprit=f"{where}.{attribute.name}", remedy=error.remedy
            ) from None
    return found


def require_readable(cls: type[Any]) -> None:
    """Require that every option of an attrs class, and of attrs classes in it, can be read from TOML.

    Raises:
        ConfigError: An annotation cannot be resolved, or cannot be read from TOML.
    """
    for attribute in options(cls):
        for type_ in (attribute.type, *get_args(attribute.type)):
            if isinstance(type_, type) and attrs.has(type_):
                require_readable(type_)


def partial(cls: type[Any], given: Mapping[str, Any], base: object = None) -> Any:  # noqa: ANN401 - a `cls`
    """Return an instance of `cls` whose attributes may be incomplete, without calling its validators.

    An attribute has its value from `given`, else from `base`, else its default. An attribute without any of
    these, or with `attrs.NOTHING` in `given`, is absent.

    Args:
        cls: An attrs class.
        given: Values by attribute name.
        base: An instance of `cls`; any other object is ignored.
    """
    base = base if isinstance(base, cls) else None
    instance = object.__new__(cls)
    for attribute in attrs.fields(cls):
        value = given[attribute.name] if attribute.name in given else _left_out(attribute, base, instance)
        if value is not attrs.NOTHING:
            object.__setattr__(instance, attribute.name, value)
    return instance


def _left_out(attribute: Attribute, base: object, instance: object) -> Any:  # noqa: ANN401 - any default
    default: Any = attribute.default
    is_factory = isinstance(default, attrs.Factory)  # type: ignore[arg-type]  # a class, typed as a function
    # A default that the base derived from its own values is derived again from the new values.
    if (
        is_factory
        and default.takes_self
        and (base is None or default.factory(base) == getattr(base, attribute.name))
    ):
        try:
            return default.factory(instance)
        except AttributeError:
            return attrs.NOTHING
    if base is not None:
        return getattr(base, attribute.name)
    return default.factory() if is_factory else default


def key_of(attribute: Attribute) -> str:
    """Return the name of an option in TOML and in paths: that of the argument of `__init__`."""
    return attribute.alias or attribute.name


def help_of(attribute: Attribute) -> str:
    """Return the `metadata["help"]` of an option on one line, "" when it has none."""
    return " ".join(str(attribute.metadata.get("help", "")).split())

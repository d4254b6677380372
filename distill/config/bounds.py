"""Descriptions of attrs validators, in words."""

from collections.abc import Callable
from typing import Any

from attrs import validators

from distill.config.words import show

# attrs exports the functions that make these validators, not their classes.
Number: Any = type(validators.ge(0))
Choice: Any = type(validators.in_(()))
Every: Any = type(validators.and_())
Maybe: Any = type(validators.optional(validators.ge(0)))
Members: Any = type(validators.deep_iterable(validators.ge(0)))
Shortest: Any = type(validators.min_len(0))
Longest: Any = type(validators.max_len(0))


def within(least: float, most: float) -> list[Callable[..., None]]:
    """Return validators of a number that is at least `least` and at most `most`."""
    return [validators.ge(least), validators.le(most)]


def above(least: float, most: float) -> list[Callable[..., None]]:
    """Return validators of a number that is more than `least` and at most `most`."""
    return [validators.gt(least), validators.le(most)]


def bounds_in_words(validator: Any) -> str:  # noqa: ANN401, PLR0911 - attrs exports no classes; one return each
    """Return the description of an attrs validator, such as ">= 0, finite"; "" for other validators."""
    match validator:
        case Number(compare_op="<", bound=bound) if bound == float("inf"):
            return "finite"
        case Number():
            return f"{validator.compare_op} {show(validator.bound)}"
        case Choice():
            return "one of " + ", ".join(map(show, validator.options))
        case Shortest():
            return f"of length >= {validator.min_length}"
        case Longest():
            return f"of length <= {validator.max_length}"
        case Maybe():
            return bounds_in_words(validator.validator)
        case Every():
            return ", ".join(filter(None, map(bounds_in_words, parts(validator))))
        case Members():
            members = bounds_in_words(validator.member_validator)
            whole = bounds_in_words(validator.iterable_validator)
            return ", ".join(filter(None, (whole, members and f"each {members}")))
    return ""


def parts(validator: Any) -> tuple[Any, ...]:  # noqa: ANN401 - as above
    """Return the validators joined by `attrs.validators.and_`."""
    return tuple(validator._validators)  # noqa: SLF001 - attrs has no public access to them

"""The problems that the validators of a config class find: all of them, not only the first."""

from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from distill.config.bounds import Every, Maybe, Members, bounds_in_words, parts
from distill.config.schema import Attribute, key_of
from distill.config.words import join, show_briefly


def objections(instance: attrs.AttrsInstance, written: Mapping[str, Any], path: str) -> Iterator[str]:
    """Run every validator of an instance made by `partial`, and yield a line for each problem.

    A validator that reads an absent attribute is skipped: the absent attribute is reported itself.

    Args:
        instance: An attrs instance, perhaps with attributes absent.
        written: The values as the user wrote them, by option, for the messages.
        path: Dotted path of the instance.
    """
    for attribute in attrs.fields(type(instance)):
        value = getattr(instance, attribute.name, attrs.NOTHING)
        # A validator expects the converted value, and converters have not run.
        if attribute.validator and value is not attrs.NOTHING and not attribute.converter:
            key = key_of(attribute)
            as_written = written.get(key, value)
            check = _Check(instance, attribute)
            yield from check.objections(attribute.validator, value, as_written, join(path, key))


@attrs.frozen
class _Check:
    instance: object
    attribute: Attribute

    def objections(self, validator: Any, value: Any, written: Any, path: str) -> Iterator[str]:  # noqa: ANN401
        match validator:
            case Every():
                for part in parts(validator):
                    yield from self.objections(part, value, written, path)
            case Maybe():
                if value is not None:
                    yield from self.objections(validator.validator, value, written, path)
            case Members():
                if validator.iterable_validator:
                    yield from self.objections(validator.iterable_validator, value, written, path)
                for index, (member, as_written) in enumerate(zip(value, written, strict=True)):
                    yield from self.objections(
                        validator.member_validator, member, as_written, f"{path}[{index}]"
                    )
            case _:
                try:
                    validator(self.instance, self.attribute, value)
                except AttributeError:
                    return
                except (TypeError, ValueError) as error:
                    bounds = bounds_in_words(validator)
                    message = f"must be {bounds}" if bounds else self._message(error, value)
                    yield f"{path}: {message}, got {show_briefly(written)}"

    def _message(self, error: Exception, value: object) -> str:
        """Return a validator's message without the name and the value that attrs adds."""
        text = str(error.args[0]) if error.args else type(error).__name__
        text = text.removeprefix(f"'{self.attribute.name}' ")
        for ending in (f": {value!r}", f" (got {value!r})", f" ({value!r} doesn't)"):
            text = text.removesuffix(ending)
        return text

"""Classes that raise a `DistillError` for invalid values. Loads no torch."""

from abc import ABCMeta
from typing import Any

from distill.errors import DistillError, InvalidTypeError, InvalidValueError


class Validated(ABCMeta):
    """The metaclass of public attrs classes, and of the classes that authors derive from them.

    A `ValueError` or `TypeError` of their validators, such as attrs', becomes a `DistillError` of the same
    kind with the same message.
    """

    def __call__(cls, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  # an instance of `cls`
        """Return an instance of the class.

        Raises:
            InvalidValueError: a value is not valid.
            InvalidTypeError: a value has another type, or an argument is missing or unknown.
        """
        try:
            return super().__call__(*arguments, **options)
        except DistillError:
            raise
        except ValueError as error:
            raise InvalidValueError(str(error.args[0] if error.args else error)) from error
        except TypeError as error:
            raise InvalidTypeError(str(error.args[0] if error.args else error)) from error

"""Functions that `torch.compile` calls between its graphs, without looking inside."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Class = TypeVar("Class", bound=type)


def uncompiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Leave a function and all that it calls out of compiled code, which then has a graph break there.

    `torch.compiler.disable` does the same, but imports the compiler, which takes seconds, at once.
    """
    disabled: list[Callable[Arguments, Result]] = []

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if "torch._dynamo" not in sys.modules:  # nothing is compiled
            return function(*args, **kwargs)
        if not disabled:
            disabled.append(torch.compiler.disable(function))
        return disabled[0](*args, **kwargs)

    return call


def made_uncompiled(cls: Class) -> Class:
    """Leave the making of instances out of compiled code, where that of frozen attrs classes fails."""
    cls.__init__ = uncompiled(cls.__init__)  # type: ignore[misc]
    return cls

"""Functions that `torch.compile` does not compile, but calls between its graphs."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Class = TypeVar("Class", bound=type)


def uncompiled(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Exclude a function and everything it calls from compiled code, which has a graph break there.

    `torch.compiler.disable` does the same, but imports the compiler immediately, which takes seconds.
    """
    disabled: list[Callable[Arguments, Result]] = []

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        # The compiler would take the names of all modules for constants, so it must not come to them.
        if not torch.compiler.is_compiling() and "torch._dynamo" not in sys.modules:
            return function(*args, **kwargs)
        if not disabled:
            disabled.append(torch.compiler.disable(function))
        return disabled[0](*args, **kwargs)

    # The compiler counts how often it compiles a code object, and all these functions would share one.
    call.__code__ = call.__code__.replace(co_name=function.__name__)  # type: ignore[attr-defined]
    return call


def made_uncompiled(cls: Class) -> Class:
    """Exclude the construction of instances from compiled code, where frozen attrs classes fail."""
    cls.__init__ = uncompiled(cls.__init__)  # type: ignore[misc]
    return cls

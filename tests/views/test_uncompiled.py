"""Functions that are left out of compiled code."""

import pytest
import torch

from distill.views import uncompiled as module
from distill.views.uncompiled import uncompiled


@pytest.fixture
def steps():
    """Return a compiled function, and what ran between its graphs."""
    ran = []

    @uncompiled
    def between(value):
        ran.append(torch.compiler.is_compiling())
        return value + 1

    def step(value):
        return between(2 * value) * 3

    yield torch.compile(step, backend="eager"), ran
    torch.compiler.reset()


def test_it_runs_between_the_graphs(steps):
    """A compiled caller has its result at each call, and the function itself is not traced."""
    compiled, ran = steps
    assert [compiled(torch.tensor(value)).item() for value in (1, 5)] == [9, 33]
    assert ran == [False, False]


def test_the_names_of_all_modules_are_not_traced(steps, monkeypatch):
    """The compiler wraps each entry of a dict in which code looks, and there are thousands of modules."""
    compiled, _ = steps
    monkeypatch.setattr(module, "sys", None)
    assert compiled(torch.tensor(1)).item() == 9


def test_functions_are_compiled_around_one_by_one():
    """No function counts for how often another is compiled around, beyond which the compiler warns."""
    functions = [uncompiled(lambda value, step=step: value + step) for step in range(3)]

    def step(value):
        for function in functions:
            value = function(value)
        return value

    with torch._dynamo.config.patch(recompile_limit=2, fail_on_recompile_limit_hit=True):  # noqa: SLF001
        assert torch.compile(step, backend="eager")(torch.tensor(1)).item() == 4
    torch.compiler.reset()

"""Test tools for authors of loss terms: checks, inputs for them, and pytest fixtures.

Names are imported on first use, since pytest loads `distill.testing.fixtures` wherever Distill is installed,
and should not import torch in sessions that do not use it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.testing.inputs import loss_inputs as loss_inputs
    from distill.testing.inputs import varied_loss_inputs as varied_loss_inputs
    from distill.testing.kit import check_term as check_term
    from distill.testing.kit import registry_with as registry_with
    from distill.testing.kit import run_checks as run_checks
    from distill.testing.outcome import Outcome as Outcome
    from distill.testing.outcome import TermCheckError as TermCheckError

_HOME = {
    "Outcome": "outcome",
    "TermCheckError": "outcome",
    "check_term": "kit",
    "loss_inputs": "inputs",
    "registry_with": "kit",
    "run_checks": "kit",
    "varied_loss_inputs": "inputs",
}

__all__ = sorted(_HOME)  # noqa: PLE0605  # derived, so that the two lists cannot differ


def __getattr__(name: str) -> Any:  # noqa: ANN401  # the type depends on the name
    if name not in _HOME:
        msg = f"module 'distill.testing' has no attribute {name!r}"
        raise AttributeError(msg)
    return getattr(import_module(f"distill.testing.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])

"""Pytest fixtures for `distill.testing`, which pytest finds by the entry point group `pytest11`.

Each fixture returns the function of `distill.testing` with its name. Only pytest is imported until one of
them is used.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from distill import testing

if TYPE_CHECKING:
    from distill import LossInputs, Registry
    from distill.testing import Outcome


@pytest.fixture(scope="session")
def distill_check_term() -> "Callable[..., tuple[Outcome, ...]]":
    """Return `check_term(spec, **options)`, which runs all checks on a term and raises if any fails."""
    return testing.check_term


@pytest.fixture(scope="session")
def distill_loss_inputs() -> "Callable[..., LossInputs]":
    """Return `loss_inputs(batch=2, ...)`, which makes inputs for a term."""
    return testing.loss_inputs


@pytest.fixture(scope="session")
def distill_registry_with() -> "Callable[[object], Registry]":
    """Return `registry_with(plugin)`, which makes a registry of the built-in terms and one plugin."""
    return testing.registry_with

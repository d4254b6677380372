"""The kit as pytest fixtures, which pytest finds by the entry point group `pytest11`.

Each gives the function of `distill.testing` that it is named after. Nothing but pytest is imported until
one of them is asked for.
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
    """Run every check on a term, failing with all that it does not pass: `check_term(spec, **options)`."""
    return testing.check_term


@pytest.fixture(scope="session")
def distill_loss_inputs() -> "Callable[..., LossInputs]":
    """Make inputs to call a term with: `loss_inputs(batch=2, ...)`."""
    return testing.loss_inputs


@pytest.fixture(scope="session")
def distill_registry_with() -> "Callable[[object], Registry]":
    """Make a registry of the built-in terms and one plugin: `registry_with(plugin)`."""
    return testing.registry_with

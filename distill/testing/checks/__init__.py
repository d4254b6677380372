"""The checks. Each is a function with the name of the check; its docstring states the requirement."""

from collections.abc import Callable

from distill.testing.checks.batches import batch_split, dual_mono, permutation
from distill.testing.checks.copies import copied, pickled
from distill.testing.checks.declaration import config, weight_zero
from distill.testing.checks.derivatives import compiled, float64
from distill.testing.checks.machine import device, float32, state, sync
from distill.testing.checks.optimum import descent, minimum
from distill.testing.checks.result import deterministic, finite, gradient, inputs_unchanged, scalar
from distill.testing.checks.sounds import gain, phase_turn, short_input, silence, strict_shapes
from distill.testing.checks.training import objective, parameters
from distill.testing.subject import Subject

Check = Callable[[Subject], str | None]
"""A function that raises `Failed` or `NotApplicable`, and may return a detail to report."""

CHECKS: tuple[Check, ...] = (
    config,
    scalar,
    finite,
    gradient,
    inputs_unchanged,
    deterministic,
    minimum,
    descent,
    silence,
    gain,
    short_input,
    strict_shapes,
    phase_turn,
    dual_mono,
    permutation,
    batch_split,
    float32,
    float64,
    state,
    pickled,
    copied,
    device,
    sync,
    compiled,
    weight_zero,
    parameters,
    objective,
)
"""All checks in the order in which they run and are shown. Prerequisites of others come first."""

"""The checks, one function each: its name is the check's, its docstring says what it asks and why."""

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
"""Raises `Failed` or `NotApplicable`; gives what was seen, where that is worth a word."""

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
"""In the order in which they run and are shown: what others build upon comes first."""

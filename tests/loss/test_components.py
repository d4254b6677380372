"""Tests of distill.loss.components: the names that a loss and a training run give their components."""

import pytest

from distill.loss.components import (
    ComponentName,
    gradient_norm_name,
    objective_name,
    part_name,
    weight_name,
    weighted_name,
)


@pytest.mark.parametrize(
    ("name", "written", "parsed"),
    [
        ("total", "total", ("total", "", "")),
        ("stft", "stft", ("term", "stft", "")),
        ("stft/linear", part_name("stft", "linear"), ("term", "stft", "linear")),
        ("stft/a/b", part_name("stft", "a/b"), ("term", "stft", "a/b")),
        ("stft/gradient_norm", part_name("stft", "gradient_norm"), ("term", "stft", "gradient_norm")),
        ("weighted/stft", weighted_name("stft"), ("weighted", "stft", "")),
        ("weight/stft", weight_name("stft"), ("weight", "stft", "")),
        ("objective", "objective", ("objective", "", "")),
        ("objective/judge", objective_name("judge"), ("objective", "judge", "")),
        ("objective/judge/real", objective_name(part_name("judge", "real")), ("objective", "judge", "real")),
        ("gradient_norm", "gradient_norm", ("gradient_norm", "", "")),
        ("gradient_norm/judge", gradient_norm_name("judge"), ("gradient_norm", "judge", "")),
    ],
)
def test_a_name_is_parsed_as_it_was_written(name, written, parsed):
    """A name is parsed into the kind, the term and the part, as docs/hooks.md and metrics.jsonl have them."""
    assert written == name
    assert ComponentName.parse(name) == ComponentName(*parsed)


NAMES = [
    "total", "stft", "stft/a", "stft/gradient_norm", "weight/stft", "weighted/stft",
    "objective", "objective/judge", "gradient_norm", "gradient_norm/judge",
]  # fmt: skip


@pytest.mark.parametrize(
    ("property_name", "expected"),
    [
        ("is_summary", ["total", "stft", "objective"]),
        ("is_weighting", ["weight/stft", "weighted/stft"]),
        ("is_decisive", ["total", "objective", "gradient_norm", "gradient_norm/judge"]),
    ],
)
def test_the_components_that_a_reader_selects(property_name, expected):
    """The display shows the summary, records leave the weighting out, the decisive ones stop a run."""
    assert [name for name in NAMES if getattr(ComponentName.parse(name), property_name)] == expected

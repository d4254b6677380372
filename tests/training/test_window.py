"""Tests of distill.training.window: means over the steps between two records."""

import math

import torch

from distill.training.window import Window

CPU = torch.device("cpu")
GOOD, BAD = torch.zeros(()), torch.ones(())


def components(total, norm=1.0):
    """Return the components of a step."""
    return {"total": torch.tensor(total), "gradient_norm": torch.tensor(norm)}


def means(window):
    """Return the means of a window by name."""
    return dict(zip(window.names, window.means().tolist(), strict=True))


def test_a_window_holds_means():
    """A window gives the mean of each component over its steps."""
    window = Window(4, 1.5, CPU)
    for total in (1.0, 2.0, 6.0):
        window.add(components(total), GOOD)
    assert (window.first, window.end) == (4, 7)
    assert means(window) == {"total": 3.0, "gradient_norm": 1.0}


def test_what_is_not_finite_or_skipped_is_not_in_the_mean():
    """A monitored term may overflow now and then; a skipped step was not taken."""
    window = Window(0, 0.0, CPU)
    steps = ((1.0, math.nan, GOOD), (math.inf, math.nan, GOOD), (50.0, 2.0, BAD), (3.0, math.inf, GOOD))
    for total, norm, skipped in steps:
        window.add(components(total, norm), skipped)
    assert means(window)["total"] == 2.0
    assert math.isnan(means(window)["gradient_norm"])
    assert window.end == 4


def test_a_window_is_wound_back():
    """A window can be rewound to a step after which all were skipped."""
    window = Window(3, 0.0, CPU)
    for total, skipped in ((1.0, GOOD), (3.0, GOOD), (math.nan, BAD), (5.0, BAD)):
        window.add(components(total), skipped)
    window.rewind(5)
    assert (window.end, means(window)["total"]) == (5, 2.0)
    window.rewind(1)
    assert window.steps == 0


def test_a_window_has_one_set_of_components():
    """Another term begins another window."""
    window = Window(0, 0.0, CPU)
    assert window.fits({"total": GOOD})
    window.add(components(1.0), GOOD)
    assert window.fits(components(5.0))
    assert not window.fits(components(5.0) | {"kl": GOOD})


def test_a_restored_window_goes_on():
    """Its mean is that of a window that was never saved, to the bit."""
    straight = Window(2, 1.0, CPU)
    values = torch.randn(7, generator=torch.Generator().manual_seed(0)).tolist()
    for number, value in enumerate(values):
        straight.add(components(value), GOOD)
        if number == 3:
            state = straight.state_dict() | {}
    restored = Window.restored(state, CPU)
    for value in values[4:]:
        restored.add(components(value), GOOD)
    assert (restored.first, restored.end, restored.seconds) == (2, 9, 1.0)
    assert torch.equal(restored.means(), straight.means())

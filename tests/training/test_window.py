"""Tests of distill.training.window: means over the steps between two records."""

import pytest
import torch

from distill.training.window import Window

CPU = torch.device("cpu")
GOOD, BAD = torch.zeros(()), torch.ones(())


def components(total, norm=1.0):
    """Return the components of a step."""
    return {"total": torch.tensor(total), "gradient_norm": torch.tensor(norm)}


def test_a_window_holds_means():
    """Of each component over its steps, without a step no number."""
    window = Window(4, 1.5, CPU)
    for total in (1.0, 2.0, 6.0):
        window.add(components(total), GOOD)
    assert (window.first, window.end) == (4, 7)
    bad, means, last = window.unpack(window.packed().tolist())
    assert (bad, means["total"], last["total"]) == (False, 3.0, 6.0)


def test_the_first_bad_step_is_kept():
    """What came after it is not: those steps were not taken."""
    window = Window(0, 0.0, CPU)
    for total in (1.0, float("nan"), float("inf")):
        window.add(components(total), GOOD if total == 1 else BAD * 2)
    bad, _, last = window.unpack(window.packed().tolist())
    assert (bad, float(window.bad)) == (True, 1.0)
    assert last["total"] != last["total"]


@pytest.mark.parametrize(
    ("step", "finite"),
    [(components(1.0), True), (components(float("nan")), False), (components(1.0, float("inf")), False)],
)
def test_totals_and_norms_decide(step, finite):
    """A component that is not finite makes the total so, and a gradient has a norm of its own."""
    assert bool(Window(0, 0.0, CPU).is_finite(step)) == finite


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
    assert torch.equal(restored.packed(), straight.packed())

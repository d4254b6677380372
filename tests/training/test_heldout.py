"""Tests of distill.training.heldout: the best measurement, and the warning about a rising loss."""

from pathlib import Path

import pytest

from distill.training.heldout import HeldoutLosses

RISING = [3.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def losses(totals):
    """Measure totals, one each ten steps."""
    heldout = HeldoutLosses()
    return heldout, [heldout.add(total, 10 * number) for number, total in enumerate(totals, 1)]


def test_the_lowest_is_the_best():
    """The first of equal lowest losses is the best, and a loss that is not finite never is."""
    heldout, best = losses([float("nan"), 3.0, 2.0, 2.0, float("-inf"), 1.5])
    assert best == [False, True, True, False, False, True]
    assert heldout.best == (1.5, 60)


def test_a_rising_loss_offers_the_best_checkpoint():
    """The warning offers the best checkpoint, with commands that can be copied."""
    heldout, _ = losses(RISING)
    assert heldout.warning(Path("my runs/a")) == (
        "The held-out loss has risen 5 evaluations in a row, from 1 to 6: the model overfits its training "
        "recordings. Stop here, or add recordings. The best checkpoint is that of step 20. To finish the run "
        "with it:\n"
        "  distill train --resume --out 'my runs/a' --from best --steps 20\n"
        "To hear it:\n"
        "  distill reconstruct 'my runs/a' FILE... --checkpoint best --out DIR"
    )


def test_a_long_rise_is_counted_whole():
    """The second warning of a rise tells its length and its beginning."""
    heldout, _ = losses([4.0, *range(1, 12)])
    assert "has risen 10 evaluations in a row, from 1 to 11:" in heldout.warning(Path("a"))


@pytest.mark.parametrize(
    "totals", [RISING[:-1], [*RISING, 7.0], [6.0, *RISING[2:5], 3.9, 5.0, 6.0], [1.0] * 9, []]
)
def test_other_losses_do_not_warn(totals):
    """Five rises in a row do, nothing less, and not the sixth again."""
    assert losses(totals)[0].warning(Path()) is None


def test_the_state_is_restored():
    """A saved state is restored, also one of Distill 0.2.0, which has no best checkpoint."""
    heldout, _ = losses(RISING)
    restored = HeldoutLosses()
    restored.load_state_dict(heldout.state_dict())
    assert (restored.totals, restored.best) == (RISING, (1.0, 20))
    restored.load_state_dict({"heldout_totals": [1.0]})
    assert (restored.totals, restored.best) == ([1.0], None)

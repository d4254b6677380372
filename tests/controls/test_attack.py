"""Tests of distill.controls.attack: the attack of waveforms, measured as `describe` does."""

import pytest
import torch

from distill.controls.attack import with_attack
from distill.controls.descriptors import describe, loudness

RATE = 8000
TIME = torch.arange(RATE) / RATE


@pytest.mark.parametrize(("rise", "wanted"), [(100, 1.0), (100, 2.0), (400, -1.0)])
def test_the_attack_is_longer_or_shorter_by_doublings(rise, wanted):
    """The attack of a linear rise changes by doublings, and the loudness is kept."""
    sound = 0.5 * (torch.sin(2 * torch.pi * 440 * TIME) * (TIME * 1000 / rise).clamp(max=1))[None]
    after = with_attack(sound, RATE, wanted)
    assert describe(after, RATE)["attack"] - describe(sound, RATE)["attack"] == pytest.approx(
        wanted, abs=0.15
    )
    assert loudness(after, RATE) == pytest.approx(loudness(sound, RATE), abs=0.01)


def test_silence_and_a_single_sample_are_left_alone():
    """The result is the input."""
    silence = torch.zeros(2, 100)
    assert torch.equal(with_attack(silence, RATE, 1.0), silence)
    assert with_attack(torch.ones(1, 1), RATE, -1.0).isfinite().all()


def test_another_peak_does_not_become_the_attack():
    """A beat whose second peak is nearly as high gets twice the attack, and not one up to that peak."""
    first = (TIME * 1000 / 60).clamp(max=1) * (-1.5 * TIME).exp()
    level = first + 0.4 * (-((TIME - 0.6) / 0.03).square()).exp()
    sound = (0.5 * torch.sin(2 * torch.pi * 440 * TIME) * level)[None]
    after = with_attack(sound, RATE, 1.0)
    assert describe(after, RATE)["attack"] - describe(sound, RATE)["attack"] == pytest.approx(1, abs=0.15)


def test_an_attack_that_cannot_be_shorter_stays():
    """A sound that begins at once is returned as it is: its attack is that of the envelope's window."""
    sound = (0.5 * torch.sin(2 * torch.pi * 440 * TIME) * (TIME >= 0.3))[None]
    assert torch.equal(with_attack(sound, RATE, -1.0), sound)

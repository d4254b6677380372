"""Tests of distill.loss.still: the terms that change nothing, as records tell."""

import math

import pytest

from distill.loss.still import StillTerms, title_without, total_without


def gradients(**shares):
    """Return the gradients of a record, with shares at the output and of the weights alike."""
    return {"shares": shares, "parameter_shares": shares, "cosines": {}}


def test_a_term_is_still_as_long_as_each_share_is_0():
    """A term that moves once is not still, and one that has no shares yet is not known."""
    still = StillTerms()
    still.add(None)
    still.add(gradients(stft=1.0))
    assert still.names == ()
    still.add(gradients(stft=1.0, kl=0.0, late=0.0))
    assert still.names == ("kl", "late")
    still.add(gradients(stft=1.0, kl=0.0, late=0.1))
    still.add(gradients(stft=None, kl=None, late=0.0))
    assert still.names == ("kl",)


@pytest.mark.parametrize(
    "strange", [[], {"shares": 1}, {"shares": {"kl": 0.0}}, {"shares": {}, "parameter_shares": 0}]
)
def test_records_of_another_version_say_nothing(strange):
    """A term of the latents has a gradient of the weights only, so one kind of share is not enough."""
    still = StillTerms()
    still.add(strange)
    still.add({"shares": {"kl": 0.0}, "parameter_shares": {"kl": 0.5}})
    assert still.names == ()


def test_a_total_is_without_terms_that_change_nothing():
    """The rest is the sum of the other terms times their weights; where that is unknown, there is none."""
    components, weights = (
        {"total": 6.0, "stft": 2.0, "recon": 4.0, "kl": 300.0},
        {"stft": 0.5, "recon": 0.25, "kl": 0.01},
    )
    assert total_without(components, weights, ["kl"]) == 2.0
    assert total_without(components, weights, []) is None
    assert total_without(components, weights, ["gone"]) is None
    assert total_without(components, {}, ["kl"]) is None
    for wrong in (math.nan, None, "x"):
        assert total_without(components | {"stft": wrong}, weights, ["kl"]) is None


def test_the_title_names_one_term_and_counts_several():
    """The title says what is left out, and stays short."""
    assert title_without(["kl"]) == "total less kl"
    assert title_without(["kl", "other"]) == "total less 2 terms"

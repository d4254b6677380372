"""Every check of `distill.testing` on every term."""

import pytest
from attrs import evolve

from distill import Registry
from distill.testing import check_term

TERMS = [term for term in Registry().terms() if term.is_from("distill-auraloss")]


@pytest.mark.parametrize("term", TERMS, ids=str)
def test_a_term_passes_every_check(term):
    """A term of auraloss is one that Distill can train with."""
    check_term(term)


def test_resolutions_that_are_drawn_once_pass_what_is_waived_for_others():
    """The waivers of the random term are for its draws alone: without them it passes all checks."""
    (term,) = Registry().choose("auraloss_random_resolution_stft")
    outcomes = check_term(unwaived(term), randomize_rate=1000)
    assert not [outcome for outcome in outcomes if outcome.status == "waived"]


def unwaived(term):
    """Return the spec of a term as if nothing were waived."""
    return evolve(term.spec, waivers={})

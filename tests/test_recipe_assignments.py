"""Tests of distill.recipe: an option that is set several times, by its addresses or in a table."""

import itertools

import numpy as np
import pytest
from recipes import problems

from distill.loss.composing import compose
from distill.plugin.registry import Registry
from distill.recipe import read_recipe


@pytest.mark.parametrize(
    ("one", "other", "place", "values"),
    [
        (
            ("stft.weight", 3),
            ("loss.stft", {"per_example": True}),
            "loss.stft.weight",
            (3, {"per_example": True}),
        ),
        (("loss.stft", {"weight": 2}), ("stft.weight", 3), "loss.stft.weight", (2, 3)),
        (("stft.weight", 5), ("loss.stft", {"weight": 6}), "loss.stft.weight", (5, 6)),
        (("training.steps", 5), ("training", {"steps": np.arange(3)}), "training.steps", (5, np.arange(3))),
        (("loss", {"stft": {"weight": 2}}), ("stft.weight", 3), "loss.stft.weight", (2, 3)),
    ],
)
def test_a_table_and_an_address_in_it_are_one_option(one, other, place, values):
    """A table that would replace an assigned option, or that gives it another value, is refused."""
    ways = [f"to {value!r} as '{address}'" for value, (address, _) in zip(values, (one, other), strict=True)]
    assert problems({}, loss="stft", assignments=[one, other]) == [
        f"{place}: is set twice, {' and '.join(ways)}; set it once"
    ]


def test_one_address_with_two_values_is_refused():
    """The later one does not win in silence."""
    assert problems({}, loss="stft", assignments=[("stft.weight", 2), ("stft.weight", 3)]) == [
        "loss.stft.weight: is set twice, to 2 and to 3; set it once"
    ]


TWO = [
    ("recon.weight", 2.0),
    ("loss.recon.weight", 2.0),
    ("reconstruction.weight", 2.0),
    ("recon", {"weight": 2.0}),
    ("loss.reconstruction", {"weight": 2.0}),
    ("loss", {"recon": {"weight": 2.0}}),
]
"""One option with one value, by any of its names, alone or in a table."""


@pytest.mark.parametrize(("one", "other"), [*itertools.product(TWO, TWO)])
def test_an_option_may_be_set_to_its_value_again(one, other):
    """Recipes and `compose` take an option that is set several times to one value, whatever its address."""
    draft = read_recipe({}, Registry(discover=False), loss="recon,kl", assignments=[one, other])
    assert draft.recipe.loss.reconstruction.weight == 2.0
    assert compose("recon,kl", [one, other]).config.reconstruction.weight == 2.0

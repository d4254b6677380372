"""Tests of distill.recipe: an option that is set several times, by its addresses or in a table."""

import itertools

import numpy as np
import pytest
from recipes import problems

from distill.config import Given
from distill.errors import ConfigError
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


@pytest.mark.parametrize("address", ["recon.weight", "loss.recon.weight", "loss.reconstruction.weight"])
def test_the_later_value_of_one_address_counts(address):
    """An address may be given twice, as a script does that adds its own options to those of its caller."""
    assignments = [(address, 2.0), ("recon.if_weight", 0.5), (address, 3.0)]
    draft = read_recipe({}, Registry(discover=False), loss="recon,kl", assignments=assignments)
    composed = compose("recon,kl", assignments).config
    for config in (draft.recipe.loss.reconstruction, composed.reconstruction):
        assert (config.weight, config.if_weight) == (3.0, 0.5)


def test_the_later_table_of_one_address_counts():
    """It replaces the whole of the earlier one."""
    assignments = [("recon", {"weight": 2.0, "if_weight": 0.5}), ("recon", {"weight": 3.0})]
    config = compose("recon,kl", assignments).config.reconstruction
    assert (config.weight, config.if_weight) == (3.0, compose("recon").config.reconstruction.if_weight)


def test_a_replaced_value_is_no_other_value():
    """Only the last value by an address is compared with those by others."""
    assignments = [("recon.weight", 2.0), ("recon.weight", 3.0), ("reconstruction.weight", 3.0)]
    assert compose("recon,kl", assignments).config.reconstruction.weight == 3.0
    argument = Given("training.steps", 1, argument="steps")
    later = [argument, ("training.steps", 3), ("training.steps", 1)]
    assert (
        read_recipe({}, Registry(discover=False), loss="recon", assignments=later).recipe.training.steps == 1
    )
    ways = "to 3.0 as 'reconstruction.weight' and to 2.0 as 'recon.weight'"
    assert problems({}, loss="recon", assignments=assignments[::-1]) == [
        f"loss.reconstruction.weight: is set twice, {ways}; set it once"
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "expected a number, got nan"),
        (np.arange(3), "expected a number, got array([0, 1, 2])"),
    ],
)
def test_a_value_that_equals_no_other_is_set_once(value, expected):
    """Not even itself: it is judged as a value, not as one that is set twice."""
    options = {"stft.weight": value}
    assert problems({}, loss="stft", assignments=[*options.items()]) == [f"loss.stft.weight: {expected}"]
    with pytest.raises(ConfigError) as caught:
        compose("stft", options)
    assert str(caught.value) == f"loss.stft.weight: {expected}"


def test_a_key_that_is_no_text_is_unknown():
    """What a table in Python has for the name of a term is named, whatever it is."""
    assert problems({}, loss="stft", assignments=[("loss", {1: 2})]) == [
        "loss.1: the loss has stft; add this term with --loss"
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

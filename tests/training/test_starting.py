"""Tests of distill.training.starting: what a training run starts from."""

import pytest

from distill.model.building import make_model, make_representation
from distill.plugin.registry import Registry
from distill.recipe import read_recipe
from distill.training.starting import start


@pytest.mark.parametrize(
    ("options", "cut"),
    [
        ([("model.code", "compact")], True),
        ([], False),
        ([("model.code", "compact"), ("representation.hop", 256)], False),
    ],
    ids=["compact", "rich", "another representation"],
)
def test_a_small_code_is_cut_from_that_of_the_base(options, cut):
    """The start has the statistics of the base's code where the code is cut from it, and only there."""
    recipe = read_recipe({}, Registry(), assignments=options).recipe
    vae = make_model(recipe.model, make_representation(recipe.representation), seed=0)
    begun = start(vae, recipe)
    assert (begun.codes is not None) == cut
    if cut:
        assert begun.codes.mean.shape == (vae.code.size,)
        # The axes can be found of it: it is symmetric, and no variance is negative.
        assert begun.codes.covariance.equal(begun.codes.covariance.T)
        assert begun.codes.covariance.diagonal().min() > 0

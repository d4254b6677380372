"""Tests of distill.training.starting: what a training run starts from."""

import pytest
import torch

from distill.model.building import make_model, make_representation
from distill.plugin.registry import Registry
from distill.recipe import read_recipe
from distill.storage.checkpoints import load_state
from distill.storage.run import Run
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
        assert len(begun.codes.covariance) == vae.code.joint
        assert begun.codes.covariance[0].equal(begun.codes.covariance[0].T)
        assert begun.codes.covariance[0].diagonal().min() > 0


@pytest.mark.parametrize(("frames", "kept"), [(2, True), (4, False)])
def test_axes_of_another_size_are_found_anew(trained, frames, kept):
    """The model of a run is taken; its axes only as a whole, so that others begin with the corpus."""
    begin = ("training.start", str(trained.folder)), ("model.joint_frames", frames)
    recipe = read_recipe(Run(trained.folder).read_recipe(), Registry(), assignments=begin).recipe
    vae = make_model(recipe.model, make_representation(recipe.representation), seed=0)
    there = load_state(Run(trained.folder).model)
    start(vae, recipe)
    assert torch.equal(vae.patch_in.weight, there["patch_in.weight"])
    assert bool(vae.axes.begun) is kept
    assert torch.equal(vae.axes.logvar, there["axes.logvar"]) is kept

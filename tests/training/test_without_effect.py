"""Tests of distill.training.without_effect: what changes nothing is said, and nothing else is."""

import pytest

from distill.model.building import make_model, make_representation
from distill.plugin.registry import Registry
from distill.recipe import read_recipe
from distill.training.starting import Start
from distill.training.without_effect import without_effect

SMALL = {"width": 8, "fine_width": 8, "expansion": 1, "encoder_blocks": [0, 0], "decoder_blocks": [0, 0]}
TOGETHER = "only a code smaller than the rich one, such as model.code = compact, codes frames together."


def told(origin="base", *, resumed=False, keep=1.0, hop=512, **model):
    """Return the messages about a recipe."""
    tree = {"model": SMALL | model, "training": {"keep": keep}, "representation": {"hop": hop}}
    recipe = read_recipe(tree, Registry()).recipe
    made = make_model(recipe.model, make_representation(recipe.representation), seed=0)
    return list(without_effect(recipe, made, Start(origin=origin, said=""), resumed=resumed))


def test_a_rich_code_does_not_code_frames_together():
    """Each number that was set is named, and what to set instead."""
    assert told(joint_width=64, joint_frames=3) == [
        f"model.joint_frames = 3 has no effect: {TOGETHER}",
        f"model.joint_width = 64 has no effect: {TOGETHER}",
    ]
    assert told(code="compact", latents_per_second=1300, joint_frames=1, joint_width=64) == []
    whole = told(code="compact", latents_per_second=100_000, joint_width=64)
    assert whole == [f"model.joint_width = 64 has no effect: {TOGETHER}"]


@pytest.mark.parametrize("hop", [512, 1024])
def test_numbers_that_every_recipe_has_are_not_told(hop):
    """A recipe that was written by an earlier run has the numbers, though nobody set them."""
    written = read_recipe({"representation": {"hop": hop}}, Registry()).recipe.model
    assert told(hop=hop, joint_frames=written.joint_frames, joint_width=written.joint_width) == []


def test_a_run_of_an_earlier_version_goes_on_in_silence():
    """Its recipe has no number of joint frames, which counts as 1."""
    assert told(resumed=True, joint_frames=1) == []


def test_random_weights_keep_all_of_the_training():
    """The share to keep is for a run that begins with a model, and is said of one that is resumed, too."""
    effect = "has no effect: a run that begins with random weights keeps all of its training."
    assert told("none", keep=0.5) == told("none", keep=0.5, resumed=True) == [f"training.keep = 0.5 {effect}"]
    assert told("base", keep=0.5) == told("none") == []

"""Tests of distill.training.starting: what a training run starts from."""

import pytest
import torch

from distill.base import base_checksum, compact_checksum, load_compact
from distill.errors import ConfigError
from distill.model.building import make_model, make_representation
from distill.plugin.registry import Registry
from distill.recipe import read_recipe
from distill.storage.checkpoints import load_state
from distill.storage.run import Run
from distill.training.starting import start


@pytest.mark.parametrize(
    ("options", "cut"),
    [
        ([("model.latents_per_second", 200)], True),
        ([("model.code", "compact"), ("model.joint_width", 0)], True),
        ([("model.code", "compact"), ("model.joint_width", 100)], True),
        ([("model.code", "compact")], False),
        ([], False),
        ([("model.code", "compact"), ("representation.hop", 256)], False),
    ],
    ids=["small", "axes alone", "other layers", "compact", "rich", "another representation"],
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


def test_the_compact_code_is_that_of_the_base():
    """Its axes and hidden layers are those in the package, made for the base model that is there."""
    recipe = read_recipe({}, Registry(), assignments=[("model.code", "compact")]).recipe
    vae = make_model(recipe.model, make_representation(recipe.representation), seed=0)
    begun = start(vae, recipe)
    there = load_compact()
    assert vae.axes.begun
    assert {name for name in vae.state_dict() if name.startswith(("axes.", "joint."))} == set(there)
    for name, value in there.items():
        assert torch.equal(vae.state_dict()[name], value), name
    assert begun.origin == f"base sha256:{base_checksum()} compact sha256:{compact_checksum()}"


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


def test_a_start_of_another_size_is_named_by_the_option_to_set(trained):
    """The message has the address and the value of the start, since the name of a weight tells neither."""
    begin = ("training.start", str(trained.folder)), ("model.decoder_blocks", [2, 2])
    tree = Run(trained.folder).read_recipe()
    recipe = read_recipe(tree, Registry(), assignments=begin).recipe
    vae = make_model(recipe.model, make_representation(recipe.representation), seed=0)
    with pytest.raises(ConfigError) as caught:
        start(vae, recipe)
    assert str(caught.value) == (
        f"training.start: the model of {trained.folder} has another model.decoder_blocks, "
        f"{tree['model']['decoder_blocks']}; set the same here, or another start"
    )

    recipe = read_recipe({}, Registry(), assignments=[("model.width", 64)]).recipe
    begun = start(make_model(recipe.model, make_representation(recipe.representation), seed=0), recipe)
    assert begun.said == "random weights: the base model has another model.width, 192"


def test_axes_without_hidden_layers_are_taken_where_there_shall_be_some(trained):
    """A model that begins with a run of an older version has its axes, and layers that add nothing yet."""
    begin = ("training.start", str(trained.folder)), ("model.joint_width", 8)
    recipe = read_recipe(Run(trained.folder).read_recipe(), Registry(), assignments=begin).recipe
    vae = make_model(recipe.model, make_representation(recipe.representation), seed=0)
    start(vae, recipe)
    assert torch.equal(vae.axes.logvar, load_state(Run(trained.folder).model)["axes.logvar"])
    assert not vae.joint.decode(torch.ones(1, 2, 3), torch.ones(1, vae.code.kept, 3)).any()


def test_hidden_layers_that_are_new_are_trained_and_those_of_the_start_are_kept(
    distill, recordings, tiny, trained, tmp_path
):
    """Layers that the start does not have would add nothing for ever. Those of a start are kept."""

    def codes(name, *words):
        result = distill("train", *words, "--out", tmp_path / name)
        assert (result.status, result.err) == (0, "")
        made = load_state(tmp_path / name / "model.safetensors")
        return {each: value for each, value in made.items() if each.startswith(("axes.", "joint."))}

    options = (recordings, "--loss", "stft,recon,kl", *tiny, "--set", "model.joint_width=8")
    options += ("--set", "training.pairs=0", "--set", "training.keep=1")
    new = codes("new", *options, "--steps", 3, "--set", f"training.start={trained.folder}")
    assert new["joint.inwards.3.weight"].any()
    assert new["joint.outwards.3.weight"].any()
    start = f"training.start={tmp_path / 'new'}"
    for words in ((*options, "--steps", 2, "--set", start), ("--resume", "--steps", 4)):
        kept = codes("kept", *words)
        assert all(torch.equal(kept[name], value) for name, value in new.items())

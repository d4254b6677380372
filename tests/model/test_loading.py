"""Tests of distill.model.loading: the model and the latents of a run folder."""

import shutil

import pytest
import torch

from distill.errors import ConfigError, RunError
from distill.model.loading import load_latents, load_model
from distill.storage.checkpoints import load_state, save_state
from distill.storage.run import Run


@pytest.fixture
def run(trained, tmp_path):
    """Copy the trained run, to be damaged."""
    return Run(shutil.copytree(trained.folder, tmp_path / "run"))


def test_a_model_is_loaded_as_it_was_trained(run):
    """Weights, buffers and representation are those of the run; the model does not train on."""
    vae, representation = load_model(run)
    state = load_state(run.model)
    assert {name: value.tolist() for name, value in vae.state_dict().items()} == {
        name: value.tolist() for name, value in state.items()
    }
    assert (representation.sample_rate, representation.n_fft, representation.hop) == (8000, 256, 64)
    assert not vae.training


def test_a_model_does_not_need_its_loss_terms(run):
    """Who trains with a plugin can give the run to somebody without it."""
    text = run.recipe.read_text()
    run.recipe.write_text(text + "\n[loss.not_installed]\nweight = 1.0\n")
    load_model(run)


def test_an_unfinished_run_has_the_model_of_its_newest_checkpoint(run):
    """Where no model was saved yet, a checkpoint will do."""
    expected = load_state(run.model)
    run.model.unlink()
    vae, _ = load_model(run)
    torch.testing.assert_close(vae.patch_out.weight, expected["patch_out.weight"])


def test_a_run_without_a_model_yet(run):
    """The whole message for a run that was stopped at its beginning."""
    run.model.unlink()
    shutil.rmtree(run.checkpoints)
    with pytest.raises(RunError) as caught:
        load_model(run)
    assert str(caught.value) == (
        f"{run.folder}: holds no trained model yet\n"
        "Train it on with --resume; a model is saved every few minutes and at the end."
    )


def test_a_damaged_model(run):
    """The whole message for a file that is cut short."""
    run.model.write_bytes(run.model.read_bytes()[:1000])
    with pytest.raises(RunError) as caught:
        load_model(run)
    assert str(caught.value) == (
        f"{run.model}: the file is cut short, damaged, or not a safetensors file\n"
        "Restore it from a copy, or train again."
    )


def test_a_model_of_another_recipe(run):
    """A recipe that was changed by hand no longer describes the model, and says so in a few lines."""
    run.recipe.write_text(run.recipe.read_text().replace("width = 16", "width = 24"))
    with pytest.raises(RunError) as caught:
        load_model(run)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(
        f"{run.folder}: does not hold the model that its recipe describes: size mismatch for "
    )
    assert lines[1:] == ["Restore recipe.toml as the training wrote it."]


def test_a_recipe_that_does_not_fit(run):
    """A value out of bounds is reported with its path."""
    run.recipe.write_text(run.recipe.read_text().replace("width = 16", "width = 1"))
    with pytest.raises(ConfigError) as caught:
        load_model(run)
    assert str(caught.value) == "model.width: must be >= 8, got 1"


def test_latents_of_older_runs_are_mono(run):
    """They hold `[D, T']` for each recording, which is one channel."""
    latents = torch.arange(12.0).view(3, 4)
    save_state(run.latents, {"latents": {"a.wav": latents}})
    (entry,) = load_latents(run, load_model(run)[1]).values()
    assert torch.equal(entry.latents, latents[None])
    assert torch.equal(entry.coherence, torch.ones(1, 1, 129) + 0j)


def test_a_run_without_latents_yet(run):
    """The whole message for a run that has not come to its end."""
    run.latents.unlink()
    with pytest.raises(RunError) as caught:
        load_latents(run, load_model(run)[1])
    assert str(caught.value) == (
        f"{run.folder}: holds no latents to make sounds of\n"
        "They are written at the end of the training: go on with --resume."
    )


@pytest.mark.parametrize("state", [{}, {"latents": 3}, {"latents": {"a.wav": 3}}, {"latents": {"a.wav": {}}}])
def test_latents_that_are_none(run, state):
    """A file of Distill that holds something else: the whole message."""
    save_state(run.latents, state)
    with pytest.raises(RunError) as caught:
        load_latents(run, load_model(run)[1])
    assert str(caught.value) == (
        f"{run.latents}: does not hold the latents of recordings\nRestore it from a copy, or train again."
    )


def test_a_model_is_safetensors(run):
    """No file of a run is a pickle: the model is read by any safetensors reader, and rewritten alike."""
    save_state(run.model, load_state(run.model))
    assert {path.suffix for path in (run.model, run.latents, *run.checkpoints.iterdir())} == {".safetensors"}
    # A safetensors file begins with the length of its JSON header.
    data = run.model.read_bytes()
    assert data[8:9] == b"{"

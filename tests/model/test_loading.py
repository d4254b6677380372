"""Tests of distill.model.loading: the model and the latents of a run folder."""

import shutil

import pytest
import torch

from distill.errors import ConfigError, RunError
from distill.model.loading import load_latents, load_model, save_latents
from distill.model.sounds import Encoded
from distill.storage.checkpoints import load_state, options_in, save_state
from distill.storage.ending import Ending
from distill.storage.run import Run


@pytest.fixture
def run(trained, tmp_path):
    """Copy the trained run, to be damaged."""
    return Run(shutil.copytree(trained.folder, tmp_path / "run"))


def loaded(run):
    """Return the model, its representation and the numbers of its latent frames."""
    vae, representation = load_model(run)
    return vae, representation, vae.latent_size


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
    """A run trained with a plugin is loaded without the plugin."""
    text = run.recipe.read_text()
    run.recipe.write_text(text + "\n[loss.not_installed]\nweight = 1.0\n")
    load_model(run)


@pytest.mark.parametrize("checkpoint", [None, "last"])
def test_a_recipe_that_describes_another_model_is_said(run, checkpoint):
    """A flipped digit that leaves all shapes as they are would give other sounds in silence."""
    text = run.recipe.read_text()
    run.recipe.write_text(text.replace("hop = 64", "hop = 66").replace("floor = 1e-06", "floor = 1e-05"))
    with pytest.raises(RunError) as caught:
        load_model(run, checkpoint)
    assert str(caught.value) == (
        f"{run.recipe}: is not the recipe that the model was trained with: representation.hop is 66, and was "
        "64; representation.floor is 1e-05, and was 1e-06\n"
        "Restore the file as the training wrote it."
    )
    run.recipe.write_text(text.replace("seed = 0", "seed = 1"))  # what anybody may edit
    load_model(run, checkpoint)


@pytest.mark.parametrize("checkpoint", [None, "last"])
def test_a_recipe_with_another_full_scale_is_said(run, checkpoint):
    """The recordings of the run would be measured at another level than the model was trained on."""
    text = run.recipe.read_text()
    run.recipe.write_text(text.replace("full_scale = 1.0", "full_scale = 2.0"))
    with pytest.raises(RunError) as caught:
        load_model(run, checkpoint)
    assert str(caught.value) == (
        f"{run.recipe}: is not the recipe that the model was trained with: corpus.full_scale is 2.0, and was "
        "1.0\nRestore the file as the training wrote it."
    )
    run.recipe.write_text(text.replace("pool_shards = 8", "pool_shards = 4"))  # the same samples
    load_model(run, checkpoint)


def test_an_older_model_does_not_say_its_full_scale(run):
    """A run of a version that did not record the option is read as it was."""
    run.recipe.write_text(run.recipe.read_text().replace("full_scale = 1.0", "full_scale = 2.0"))
    options = options_in(run.model)
    assert options.pop("corpus.full_scale") == 1.0
    save_state(run.model, load_state(run.model), options)
    load_model(run)


def test_an_unfinished_run_has_the_model_of_its_newest_checkpoint(run):
    """The newest checkpoint gives the model where none was saved yet."""
    expected = load_state(run.model)
    run.model.unlink()
    Ending(state="interrupted").write(run)
    vae, _ = load_model(run)
    torch.testing.assert_close(vae.patch_out.weight, expected["patch_out.weight"])


def test_a_run_without_a_model_yet(run):
    """The message says that the run holds no model yet, and how to train on."""
    run.model.unlink()
    Ending(state="interrupted").write(run)
    shutil.rmtree(run.checkpoints)
    with pytest.raises(RunError) as caught:
        load_model(run)
    assert str(caught.value) == (
        f"{run.folder}: holds no trained model yet\n"
        "Train it on with --resume; a model is saved every few minutes and at the end."
    )


def test_a_model_that_was_removed(run):
    """No checkpoint takes the place of a finished model in silence, since it is not calibrated."""
    run.model.unlink()
    with pytest.raises(RunError) as caught:
        load_model(run)
    assert str(caught.value) == (
        f"{run.model}: is missing, although the training run has finished\n"
        "Restore it from a copy, let `distill train --resume` write it again, or choose a checkpoint, "
        "which is not calibrated."
    )
    load_model(run, "last")


def test_a_damaged_model(run):
    """The message says that the file is cut short or damaged, and what to do."""
    run.model.write_bytes(run.model.read_bytes()[:1000])
    with pytest.raises(RunError) as caught:
        load_model(run)
    assert str(caught.value) == (
        f"{run.model}: the file is cut short, damaged, or not a safetensors file\n"
        "Restore it from a copy, or train again."
    )


def test_a_model_of_another_recipe(run):
    """The shapes tell a wrong recipe, in a few lines, where the file does not hold its options."""
    save_state(run.model, load_state(run.model))  # as Distill 0.2.0 saved it
    run.recipe.write_text(run.recipe.read_text().replace("width = 16", "width = 24"))
    with pytest.raises(RunError) as caught:
        load_model(run)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(
        f"{run.folder}: does not hold the model that its recipe describes: decoder.blocks.0.depthwise.bias "
    )
    assert lines[1:] == ["Restore recipe.toml as the training wrote it."]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("width = 1", "model.width: must be >= 8, got 1"),
        ("width = 16\nhue = 3", "model.hue: unknown option, got 3"),
    ],
)
def test_a_recipe_that_does_not_fit(run, line, problem):
    """A value out of bounds, and an option of another version, are reported with the file and what to do."""
    run.recipe.write_text(run.recipe.read_text().replace("width = 16", line, 1))
    with pytest.raises(ConfigError) as caught:
        load_model(run)
    first, remedy = str(caught.value).split("\n")
    assert first.startswith(f"{run.recipe}: {problem}")
    assert remedy == "Restore the file from a copy, or use the version of Distill that wrote it."


def test_latents_of_older_runs_are_mono(run):
    """They hold `[D, T']` for each recording, which is one channel."""
    vae, representation, size = loaded(run)
    latents = torch.arange(4.0 * size).view(size, 4)
    save_state(run.latents, {"latents": {"a.wav": latents}})
    (entry,) = load_latents(run, representation, vae).values()
    assert torch.equal(entry.latents, latents[None])
    assert torch.equal(entry.coherence, torch.ones(1, 1, 129) + 0j)
    assert entry.samples is None


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("samples", [None, 1000])
def test_latents_come_back_as_they_were_saved(run, channels, samples):
    """Latents, coherence and the number of samples of a mono and of a stereo recording are read back."""
    vae, representation, size = loaded(run)
    coherence = torch.complex(torch.rand(channels, channels, 129), torch.rand(channels, channels, 129))
    saved = Encoded(
        torch.rand(channels, size, 4), coherence if channels > 1 else torch.ones(1, 1, 129) + 0j, samples
    )
    save_latents(run, {"a.wav": saved})
    (entry,) = load_latents(run, representation, vae).values()
    assert torch.equal(entry.latents, saved.latents)
    assert torch.equal(entry.coherence, saved.coherence)
    assert entry.samples == samples


def test_a_run_without_latents_yet(run):
    """The message says that an unfinished run holds no latents, and how to train on."""
    run.latents.unlink()
    with pytest.raises(RunError) as caught:
        load_latents(run, *load_model(run)[::-1])
    assert str(caught.value) == (
        f"{run.folder}: holds no latents to make sounds of\n"
        "They are written at the end of the training: go on with --resume."
    )


WITHIN = "expected values within -1000..1000, in float32"


def _stereo(size, frames=3, bins=129, channels=2):
    coherence = torch.eye(channels)[:, :, None, None].expand(channels, channels, bins, 2).contiguous()
    return {"latents": torch.zeros(channels, size, frames), "coherence": coherence}


@pytest.mark.parametrize(
    ("state", "problem"),
    [
        (lambda _: {}, "expected values by name, got a NoneType"),
        (lambda _: {"latents": 3}, "expected values by name, got a int"),
        (lambda _: {"latents": {}}, "expected values by name, got none"),
        (lambda _: {"latents": {"a.wav": 3}}, "expected values by name, got a int"),
        (lambda _: {"latents": {"a.wav": {}}}, "expected values by name, got none"),
        (lambda d: {"latents": {"a": torch.zeros(d)}}, "expected the shape [{d}, any], got [{d}]"),
        (lambda d: {"latents": {"a": torch.zeros(d, 0)}}, "expected the shape [{d}, any], got [{d}, 0]"),
        (lambda d: {"latents": {"a": torch.zeros(d + 1, 5)}}, "expected the shape [{d}, any], got [{e}, 5]"),
        (lambda d: {"latents": {"a": torch.zeros(d, 9377)}}, "expected at most 4688 latent frames, got 9377"),
        (
            lambda d: {"latents": {"a": torch.zeros(d, 5).double()}},
            WITHIN,
        ),
        (
            lambda d: {"latents": {"a": torch.full((d, 5), 1e30)}},
            WITHIN,
        ),
        (
            lambda d: {"latents": {"a": _stereo(d, bins=128)}},
            "expected the shape [2, 2, 129, 2], got [2, 2, 128, 2]",
        ),
        (lambda d: {"latents": {"a": _stereo(d, channels=65)}}, "expected at most 64 channels, got 65"),
        (
            lambda d: {"latents": {"a": {**_stereo(d), "samples": 0}}},
            "expected a number of samples from 1 on, got 0",
        ),
        (
            lambda d: {"latents": {"a": {**_stereo(d), "samples": 2.5}}},
            "expected a number of samples from 1 on, got 2.5",
        ),
    ],
)
def test_latents_of_something_else(run, state, problem):
    """One message refuses a file of other values, and the latents of another model."""
    vae, representation, size = loaded(run)
    save_state(run.latents, state(size))
    with pytest.raises(RunError) as caught:
        load_latents(run, representation, vae)
    assert str(caught.value) == (
        f"{run.latents}: does not hold the latents of recordings: {problem.format(d=size, e=size + 1)}\n"
        "Restore it from a copy, or train again."
    )


@pytest.mark.parametrize(
    ("edit", "problem"),
    [
        (lambda state: state.pop("patch_in.bias"), "patch_in.bias is missing"),
        (lambda state: state.update(extra=torch.zeros(3)), "extra is not part of it"),
        (
            lambda state: state.update({"patch_in.bias": torch.zeros(9)}),
            "patch_in.bias has the shape [9], not [8]",
        ),
        (lambda state: state.update({"patch_in.bias": 3}), "patch_in.bias has values of another kind"),
        (
            lambda state: state.update({"patch_in.bias": torch.zeros(8, dtype=torch.complex64)}),
            "patch_in.bias has values of another kind",
        ),
    ],
)
def test_a_model_of_other_weights(run, edit, problem):
    """Every weight must be there, with the shape that the recipe gives it."""
    state = load_state(run.model)
    edit(state)
    save_state(run.model, state)
    with pytest.raises(RunError) as caught:
        load_model(run)
    assert caught.value.problem == f"does not hold the model that its recipe describes: {problem}"


@pytest.mark.parametrize(
    ("old", "new"),
    [("width = 16", "width = 4096"), ("encoder_blocks = [1, 1]", "encoder_blocks = [64, 64]")],
)
def test_a_recipe_that_asks_for_more_than_the_file_holds(run, old, new, monkeypatch):
    """What a recipe describes is compared with the file before any of it is allocated."""
    save_state(run.model, load_state(run.model))  # as Distill 0.2.0 saved it
    run.recipe.write_text(run.recipe.read_text().replace(old, new))
    monkeypatch.setattr("distill.model.loading.make_model", None)  # would allocate
    with pytest.raises(RunError, match="does not hold the model that its recipe describes"):
        load_model(run)


def test_a_model_that_no_machine_holds(run, monkeypatch):
    """The message gives the memory that the model needs, and the settings to lower."""
    text = run.recipe.read_text()
    run.recipe.write_text(
        text.replace("width = 16", "width = 4096").replace("expansion = 2", "expansion = 16")
    )
    monkeypatch.setattr("distill.model.memory.machine_memory", lambda: 10**9)
    with pytest.raises(ConfigError) as caught:
        load_model(run)
    assert str(caught.value) == (
        "recipe: its model needs 4.3 GB of memory at least, and this machine has 1 GB\n"
        "Choose a smaller model.width, model.fine_width or model.expansion."
    )


def test_a_file_that_is_far_too_large_is_not_read(run):
    """A sparse file costs a stranger nothing: its size is compared with that of the model first."""
    with run.model.open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(RunError) as caught:
        load_model(run)
    assert str(caught.value).startswith(f"{run.model}: the file has 1.1 TB, and ")


def test_a_model_is_safetensors(run):
    """No file of a run is a pickle: the model is read by any safetensors reader, and rewritten alike."""
    save_state(run.model, load_state(run.model))
    assert {path.suffix for path in (run.model, run.latents, *run.checkpoints.iterdir())} == {".safetensors"}
    # A safetensors file begins with the length of its JSON header.
    data = run.model.read_bytes()
    assert data[8:9] == b"{"

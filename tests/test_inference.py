"""Tests of distill.inference: a trained model, loaded and used."""

import shutil

import numpy as np
import pytest
import torch

import distill
from distill.audio.soundfiles import read_audio, resample
from distill.audio.streaming import write_blocks
from distill.config.settings import MOST_REFINEMENTS
from distill.errors import InputError, OutputError, RunError, ShapeError
from distill.model import sounds
from distill.model.loading import load_model
from distill.storage.checkpoints import load_checkpoint
from distill.storage.run import Run

TOO_LOUD = (
    "waveform: has samples of up to 26,275, and 1 is full scale\n"
    "Divide it by its full scale, 32768 for the range of 16-bit integers."
)


@pytest.fixture(scope="module")
def model(trained):
    """Load the tiny model."""
    return distill.load(trained.folder)


def noise(*shape, seed=0):
    """Draw a waveform."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_parts_are_torch_modules(model, trained):
    """The parts are modules with the weights of the run, which is given as a path, text or a run."""
    assert isinstance(model.vae, torch.nn.Module)
    assert isinstance(model.representation, torch.nn.Module)
    vae, _ = load_model(Run(trained.folder))
    for source in (trained.folder, str(trained.folder), Run(trained.folder)):
        loaded = distill.load(source)
        for one, other in zip(loaded.vae.parameters(), vae.parameters(), strict=True):
            assert torch.equal(one, other)
        assert (loaded.sample_rate, loaded.run, loaded.vae.training) == (8000, Run(trained.folder), False)
    assert repr(model) == f"Model({str(trained.folder)!r}, sample_rate=8000, device='cpu')"


def test_the_working_folder_may_change(trained, model, tmp_path, monkeypatch):
    """A model that was loaded by a relative path finds its run from another working folder."""
    monkeypatch.chdir(trained.folder.parent)
    loaded = distill.load(trained.folder.name)
    monkeypatch.chdir(tmp_path)
    assert loaded.latents.keys() == model.latents.keys()
    assert len(loaded.evaluate(heldout=True, visqol=False).rows) == 1
    assert not [*tmp_path.iterdir()]


def test_a_checkpoint_can_be_loaded(trained):
    """The best checkpoint, the newest and that of a step can be loaded, with their weights."""
    checkpoints = Run(trained.folder).checkpoints
    for which in ("best", "last", 4, "4"):
        loaded = distill.load(trained.folder, checkpoint=which)
        state = load_checkpoint(checkpoints, 4 if which == "4" else which).state["model"]
        assert all(torch.equal(value, state[name]) for name, value in loaded.vae.state_dict().items())
        assert loaded.reconstruct(noise(2000)).shape == (1, 2000)


def test_the_latents_of_a_checkpoint_are_computed(trained, model):
    """Latents of a checkpoint are computed from the training recordings; the last one's equal the run's."""
    loaded = distill.load(trained.folder, checkpoint="last")
    assert loaded.latents.keys() == model.latents.keys()
    for name, entry in model.latents.items():
        torch.testing.assert_close(loaded.latents[name].latents, entry.latents, atol=1e-5, rtol=1e-4)
    assert len(loaded.generate(2, seconds=0.2)) == 2


def test_a_checkpoint_without_its_recordings_has_no_latents(trained, tmp_path):
    """A checkpoint without its recordings makes no sounds; the message has the command to finish it."""
    folder = shutil.copytree(trained.folder, tmp_path / "run")
    recipe = folder / "recipe.toml"
    place = distill.load(folder).recipe.corpus.path
    recipe.write_text(recipe.read_text().replace(place, "/nowhere"))
    with pytest.raises(RunError) as caught:
        distill.load(folder, checkpoint="best").generate()
    assert str(caught.value) == (
        f"{folder}: the checkpoint of step 4 has no latents to make sounds of, and the recordings that it "
        "was trained on cannot be opened again: the corpus of the run is no longer there\n"
        f"Finish the run with that checkpoint: distill train CORPUS --resume --out {folder} "
        "--from best --steps 4"
    )


@pytest.mark.parametrize(
    ("run", "which", "error", "message"),
    [
        ("base", "best", InputError, "checkpoint: the base model has no checkpoints\nLeave it out."),
        (
            "run",
            "worst",
            InputError,
            "checkpoint: expected 'best', 'last' or the step of a checkpoint, got 'worst'",
        ),
        (
            "run",
            True,
            InputError,
            "checkpoint: expected 'best', 'last' or the step of a checkpoint, got True",
        ),
        ("run", -1, InputError, "checkpoint: expected 'best', 'last' or the step of a checkpoint, got -1"),
        (
            "run",
            7,
            RunError,
            "{}: there is no checkpoint of step 7\nPass the step of another one, 4, or 'last'.",
        ),
    ],
)
def test_a_checkpoint_that_is_not_there(trained, run, which, error, message):
    """A checkpoint that is not there is refused with the whole message."""
    with pytest.raises(error) as caught:
        distill.load(trained.folder if run == "run" else run, checkpoint=which)
    assert str(caught.value) == message.format(Run(trained.folder).checkpoints)


def test_a_model_moves(trained):
    """The model moves with all of its parts and stays the same object (meta stands for another device)."""
    model = distill.load(trained.folder)
    assert model.to("meta") is model
    assert model.device.type == "meta"
    assert {each.device.type for each in (*model.vae.buffers(), *model.representation.buffers())} == {"meta"}


def test_the_recipe_is_that_of_the_run(model):
    """The recipe is an object with the provenance of the training."""
    assert model.recipe.training.steps == 4
    assert model.recipe.loss.stft.weight == 1.0
    assert model.recipe.provenance["training.start"] == "none"


def test_latents_are_those_that_were_kept(model, recordings):
    """Latents have the names of the training recordings; each can be decoded, in stereo, too."""
    stereo = [entry for entry in model.latents.values() if len(entry.latents) == 2]
    assert len(model.latents) == 4
    assert all((recordings / name).is_file() for name in model.latents)
    (entry,) = stereo
    sound = model.decode(entry)
    assert sound.shape == (2, entry.samples)
    assert sound.isfinite().all()
    assert model.decode(entry.latents).shape == (2, 64 * (16 * entry.latents.shape[-1] - 1))


def test_a_file_is_reconstructed_as_its_waveform_is(model, tmp_path, monkeypatch):
    """A file is reconstructed to the bit as its waveform is; no file is replaced unless asked for."""
    monkeypatch.setattr(sounds, "_PIECE_SECONDS", 0.2)
    monkeypatch.setattr(sounds, "_OVERLAP_SECONDS", 0.05)
    for rate in (8000, 11_025):
        waveform = noise(2, 6000).clamp(-0.3, 0.3)
        write_blocks(tmp_path / "a.wav", [waveform], rate, 2)
        waveform, _ = read_audio(tmp_path / "a.wav")
        written = model.reconstruct_file(tmp_path / "a.wav", str(tmp_path / "b.wav"), overwrite=rate > 8000)
        expected = model.reconstruct(waveform, rate)
        assert written.peak == expected.abs().max()
        write_blocks(tmp_path / "c.wav", [expected], rate, 2)
        assert (tmp_path / "b.wav").read_bytes() == (tmp_path / "c.wav").read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        model.reconstruct_file(tmp_path / "a.wav", tmp_path / "b.wav")


def test_a_reconstruction_has_no_name_of_another_format(model, tmp_path):
    """It is WAV, which a name that ends in `.flac` would deny."""
    write_blocks(tmp_path / "a.wav", [noise(1, 4000)], 8000, 1)
    with pytest.raises(InputError) as caught:
        model.reconstruct_file(tmp_path / "a.wav", tmp_path / "b.flac")
    assert str(caught.value) == (
        f"{tmp_path / 'b.flac'}: sounds are written as WAV, not as FLAC\nUse a name that ends in .wav."
    )


def test_a_source_is_not_replaced_by_its_reconstruction(model, tmp_path):
    """The same file is refused as target, by whatever path, even with `overwrite`, and stays as it is."""
    source, link = tmp_path / "a.wav", tmp_path / "b.wav"
    write_blocks(source, [noise(1, 4000)], 8000, 1)
    link.hardlink_to(source)
    before = source.read_bytes()
    for target in (source, link):
        with pytest.raises(OutputError) as caught:
            model.reconstruct_file(source, target, overwrite=True)
        assert str(caught.value) == (
            f"target: is the source, {source}, which the reconstruction would replace\nWrite to another file."
        )
    assert source.read_bytes() == before


def test_each_piece_of_a_file_is_told(model, tmp_path, monkeypatch):
    """Progress is in seconds of the file, from its beginning to its end."""
    monkeypatch.setattr(sounds, "_PIECE_SECONDS", 1.0)
    write_blocks(tmp_path / "a.wav", [noise(1, 26_000)], 11_025, 1)
    told = []
    model.reconstruct_file(tmp_path / "a.wav", tmp_path / "b.wav", on_progress=told.append)
    assert {(each.stage, each.total, each.item) for each in told} == {("reconstructing", 3, "a.wav")}
    assert sorted({each.done for each in told}) == [0, 1, 2, 3]
    with pytest.raises(InputError, match=r"^on_progress: "):
        model.reconstruct_file(tmp_path / "a.wav", tmp_path / "c.wav", on_progress=3)


def test_what_is_encoded_can_be_decoded(model):
    """Latents `[C, D, T']` of a waveform `[C, N]` decode to what `reconstruct` gives."""
    waveform = noise(2, 3000)
    latents = model.encode(waveform)
    assert latents.shape == (2, model.vae.latent_size, 3)  # ceil((ceil(3000 / 64) + 1) / 16)
    expected, _ = model.vae.encode(model.representation(waveform))
    assert torch.equal(latents, expected)
    mono = model.encode(waveform[:1])
    # How a product is rounded depends on the number of its rows, and on the processor.
    torch.testing.assert_close(mono, latents[:1], atol=1e-4, rtol=1e-4)
    decoded = model.decode(mono, samples=3000)
    torch.testing.assert_close(decoded, model.reconstruct(waveform[:1]), atol=1e-4, rtol=0)
    assert not latents.requires_grad


def test_channels_are_decoded_each_for_itself(model):
    """What one channel holds is not heard in another."""
    latents = model.encode(noise(2, 3000))
    both = model.decode(latents)
    assert both.shape == (2, 64 * (16 * 3 - 1))
    torch.testing.assert_close(both[:1], model.decode(latents[:1]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("shape", [(3000,), (1, 3000), (3, 3000)])
@pytest.mark.parametrize("rate", [None, 8000, 11025])
def test_any_number_of_channels_at_any_rate(model, shape, rate):
    """The reconstruction has the shape of what was given; NumPy, or a list, is as good as a tensor."""
    waveform = noise(*shape)
    made = model.reconstruct(waveform, rate)
    assert made.shape == (shape if len(shape) == 2 else (1, *shape))
    assert torch.equal(made, model.reconstruct(waveform.double().numpy(), sample_rate=rate))
    expected = resample(waveform.view(-1, 3000), rate or 8000, 8000)
    assert torch.equal(model.encode(waveform, rate), model.encode(expected))
    if rate in (None, 8000):
        expected = sounds.reconstruct(model.vae, model.representation, expected)
        assert torch.equal(made, expected)


def test_sounds_are_generated(model):
    """A seed always gives the same sounds whatever their count; another differs; the length is kept."""
    first, second = model.generate(2, seed=5)
    assert torch.equal(model.generate(seed=5)[0], first)
    assert not torch.equal(first, second)
    (other,) = model.generate(seed=6, seconds=0.25)
    assert other.shape[-1] == 2000
    assert other.isfinite().all()


def test_recordings_are_measured(model, recordings):
    """The table has a row for each recording of arrays, of a folder or of the run's corpus."""
    table = model.evaluate(recordings, visqol=False)
    assert {row.name for row in table.rows} == {"a.wav", "b.wav", "c.wav", "below/a.wav", "stereo.wav"}
    assert sum(bool(row.trained_on) for row in table.rows) == 4
    assert table.mean == table.model.mean
    assert list(table.contenders) == ["model", "linear_code", "mean_spectrum", "silence", "ceiling"]
    assert str(table).splitlines()[2].startswith("model ")
    held_out = model.evaluate(heldout=True, visqol=False)
    assert [row.trained_on for row in held_out.rows] == [False]
    told = []
    assert held_out.missing == ()  # ViSQOL is not installed here, but was not asked for
    arrays = [("noise", noise(2, 3000), 16_000)]
    of_arrays = model.evaluate(arrays, loss="stft", on_progress=told.append)
    assert of_arrays.mean.terms.keys() == {"stft"}
    assert of_arrays.missing == ("visqol",)
    assert [(each.stage, each.done, each.total) for each in told] == [
        ("measuring", done, 5) for done in range(6)
    ]
    assert told[1].item == "noise: model"


def test_the_base_model_can_be_loaded():
    """It encodes and decodes; there are no recordings that it could make sounds of."""
    model = distill.load("base")
    assert repr(model) == "Model('base', sample_rate=44100, device='cpu')"
    assert model.reconstruct(noise(4410)).shape == (1, 4410)
    assert model.recipe.representation.n_fft == model.representation.n_fft
    with pytest.raises(RunError) as caught:
        model.generate()
    assert str(caught.value) == (
        "the base model: holds no latents to make sounds of\n"
        "Train it on recordings of your own, for a minute at least: distill train FOLDER"
    )


def test_a_term_that_is_not_installed_is_not_needed(trained, tmp_path):
    """The recipe has its options as plain data, those of an older version under their new names."""
    run = Run(shutil.copytree(trained.folder, tmp_path / "run"))
    text = run.recipe.read_text().replace("griffin_lim_iterations = 2", "reconciliations = 3")
    run.recipe.write_text(text + "\n[loss.not_installed]\nweight = 0.5\n")
    model = distill.load(run)
    assert model.recipe.loss["not_installed"] == {"weight": 0.5}
    assert model.recipe.training.griffin_lim_iterations == 3
    assert model.recipe.training.steps == 4


@pytest.mark.parametrize(
    ("waveform", "rate", "message"),
    [
        (np.zeros((2, 3, 4)), None, "waveform: expected the shape [N] or [C, N], N > 0, got [2, 3, 4]"),
        (np.zeros(0), None, "waveform: expected the shape [N] or [C, N], N > 0, got [0]"),
        (np.zeros((4000, 2)), None, "waveform: expected the shape [C, N], got [4000, 2]: more channels"),
        (np.zeros(9, np.int16), None, "waveform: expected floats, 1 being full scale, got int16"),
        (
            np.full(9, np.nan),
            None,
            (
                "waveform: contains NaN or infinite samples\n"
                "Replace them, such as by torch.nan_to_num, or leave the waveform out."
            ),
        ),
        (
            np.full(9, 26_275.0),
            None,
            TOO_LOUD,
        ),
        (np.zeros(9), 10, "sample_rate: expected a sample rate in Hz, 1000 to 100000000, got 10"),
        pytest.param(
            np.zeros(9),
            10**5000,
            "sample_rate: expected a sample rate in Hz, 1000 to 100000000, got a number of about 5000 digits",
            id="huge",
        ),
        (np.zeros(9), float("inf"), "sample_rate: expected a sample rate in Hz, 1000 to 100000000, got inf"),
        (
            np.zeros(9),
            np.array([8000, 1]),
            "sample_rate: expected a sample rate in Hz, 1000 to 100000000, got arr",
        ),
        (np.zeros(9), 44100.5, "sample_rate: expected a sample rate in Hz, 1000 to 100000000, got 44100.5"),
    ],
)
def test_what_is_no_waveform(model, waveform, rate, message):
    """A value that is no waveform is refused with one message that says what was expected."""
    for method in (model.encode, model.reconstruct):
        with pytest.raises(InputError) as caught:
            method(waveform, rate)
        assert str(caught.value).startswith(message)


_ENCODE = "Pass what `encode` of this model returns, or an entry of its `latents`."
_HELD = "Leave `samples` out for as many as they hold."


@pytest.mark.parametrize(
    ("latents", "samples", "message"),
    [
        (torch.zeros(32, 3), None, f"latents must have the shape [C, 32, T']: got [32, 3]\n{_ENCODE}"),
        (torch.zeros(1, 3, 6), None, f"latents must have the shape [C, 32, T']: got [1, 3, 6]\n{_ENCODE}"),
        (torch.zeros(1, 32, 3), 3009, f"3 latents hold 1 to 3008 samples: 3009 were asked for\n{_HELD}"),
        (torch.zeros(1, 32, 3), 0, f"3 latents hold 1 to 3008 samples: 0 were asked for\n{_HELD}"),
        (torch.zeros(0, 32, 3), None, f"latents must have the shape [C, 32, T']: got [0, 32, 3]\n{_ENCODE}"),
        (torch.zeros(1, 32, 0), None, f"latents must have the shape [C, 32, T']: got [1, 32, 0]\n{_ENCODE}"),
        ("x", None, f"latents must have the shape [C, 32, T']: got a str\n{_ENCODE}"),
    ],
)
def test_what_are_no_latents(model, latents, samples, message):
    """A value that is no latents is refused with the whole message."""
    with pytest.raises(ShapeError) as caught:
        model.decode(latents, samples)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("latents", "samples", "message"),
    [
        (torch.zeros(1, 32, 3), 100.5, "samples: expected a whole number, got 100.5"),
        (torch.zeros(1, 32, 3), True, "samples: expected a whole number, got True"),
        (torch.zeros(1, 32, 3).long(), None, f"latents must be finite floats: got torch.int64\n{_ENCODE}"),
        (
            torch.full((1, 32, 3), torch.nan),
            None,
            f"latents must be finite floats: got NaN or infinite ones\n{_ENCODE}",
        ),
    ],
)
def test_what_cannot_be_decoded(model, latents, samples, message):
    """Latents that cannot be decoded are refused with the whole message."""
    with pytest.raises(InputError) as caught:
        model.decode(latents, samples)
    assert str(caught.value) == message


def test_latents_and_lengths_of_other_types_are_decoded(model):
    """Latents of any float precision and lengths of NumPy's whole numbers are decoded."""
    latents = model.encode(noise(1, 3000))
    expected = model.decode(latents, 3000)
    assert torch.equal(model.decode(latents.double(), np.int64(3000)), expected)
    assert model.decode(latents.half()).dtype == torch.float32


@pytest.mark.parametrize("device", ["gpu", "", "privateuseone", None, torch.float64])
def test_a_device_that_is_not_there(model, trained, device):
    """A missing device is one message, wherever it is asked for; the model stays where it is."""
    for ask in (model.to, lambda where: distill.load(trained.folder, device=where)):
        with pytest.raises(InputError) as caught:
            ask(device)
        assert str(caught.value) == (
            f"device: cannot be used on this machine: {device!r}\n"
            "Pass a device that torch has here: 'cpu', or 'cuda' or 'mps' where there is one."
        )
    assert (model.device.type, next(model.vae.parameters()).dtype) == ("cpu", torch.float32)


@pytest.mark.parametrize("run", [None, 3, b"run", ["run"]])
def test_what_is_no_run(run):
    """A value that is no run is refused with the whole message."""
    with pytest.raises(InputError) as caught:
        distill.load(run)
    assert str(caught.value) == f"run: expected a run, its folder, or 'base', got {run!r}"


def test_a_run_may_be_made_of_text(trained):
    """Its folder need not be a path."""
    assert distill.load(Run(str(trained.folder))).sample_rate == 8000


@pytest.mark.parametrize("refinements", [-1, 1.5, "x"])
def test_refinements_are_a_whole_number(model, refinements):
    """Each method that takes refinements refuses a wrong value with one message."""
    for method in (model.reconstruct, model.evaluate):
        with pytest.raises(InputError) as caught:
            method(noise(1, 800), refinements=refinements)
        assert (
            str(caught.value)
            == f"refinements: expected a whole number within 0..{MOST_REFINEMENTS}, got {refinements!r}"
        )


def test_progress_is_a_function(model):
    """A progress argument that is no function is refused before anything is measured."""
    with pytest.raises(InputError) as caught:
        model.evaluate(on_progress=3)
    assert str(caught.value) == "on_progress: expected a function, got 3\nPass a function, or leave it out."


def test_what_cannot_be_generated_is_told_before_the_first_sound(model):
    """A call that can generate nothing raises its error before the first sound is asked for."""
    with pytest.raises(InputError):
        model.iter_generate(0)


_MIX = "0 only mixes the recordings, and 1 is the default."
_MEAN = "Leave it out for the mean length of two recordings."


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"count": 0}, "count: expected a whole number within 1..100000, got 0"),
        ({"seed": -1}, "seed: expected a whole number within 0..9223372036854775807, got -1"),
        ({"temperature": -0.1}, f"temperature: expected a number within 0..100, got -0.1\n{_MIX}"),
        ({"seconds": 0.0}, f"seconds: expected a number within 0.05..600, got 0.0\n{_MEAN}"),
        ({"count": "3"}, "count: expected a whole number within 1..100000, got '3'"),
        ({"temperature": float("nan")}, f"temperature: expected a number within 0..100, got nan\n{_MIX}"),
        ({"seconds": "3"}, f"seconds: expected a number within 0.05..600, got '3'\n{_MEAN}"),
    ],
)
def test_what_cannot_be_generated(model, words, message):
    """A request that cannot be generated is refused with the whole message."""
    with pytest.raises(InputError) as caught:
        model.generate(**words)
    assert str(caught.value) == message

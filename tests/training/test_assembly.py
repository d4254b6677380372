"""Tests of distill.training.assembly: the parts of a run made of its recipe, and loaded from its folder."""

import shutil
from types import SimpleNamespace

import attrs
import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn

from distill import TermConfig, TermSpec, hookimpl
from distill.audio.corpus import open_corpus
from distill.errors import ConfigError, RunError
from distill.evaluation.baselines import measure_recordings
from distill.loss.composer import compose
from distill.model.sounds import encode
from distill.settings import CorpusSettings, ModelSettings, RepresentationSettings, TrainingSettings
from distill.storage.checkpoints import load_state, save_checkpoint, save_state
from distill.storage.run import Run
from distill.testing import registry_with
from distill.training import assembly

SETTINGS = TrainingSettings(batch_size=2, clip_seconds=0.2)


@pytest.fixture
def _fresh_process():
    """Let a test choose a precision, which Accelerate allows once in a process."""
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001  # as Accelerate's own tests do
    yield
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001  # as above


@pytest.fixture
def run(trained, tmp_path):
    """Copy the trained run, to be damaged."""
    return Run(shutil.copytree(trained.folder, tmp_path / "run"))


@pytest.mark.usefixtures("_fresh_process")
@pytest.mark.parametrize(
    ("precision", "capabilities", "expected"),
    [
        ("auto", {"avx512_bf16": True}, "bf16"),
        ("auto", {"avx512_bf16": False, "amx_bf16": True}, "bf16"),
        ("auto", {"avx2": True}, "no"),
        ("float32", {"avx512_bf16": True}, "no"),
        ("bfloat16", {"avx2": True}, "bf16"),
    ],
)
def test_the_precision_of_the_model_on_a_cpu(monkeypatch, precision, capabilities, expected):
    """It is float32 unless the CPU computes in bfloat16, or bfloat16 is asked for."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    accelerator = assembly.make_accelerator(TrainingSettings(device="cpu", precision=precision))
    assert accelerator.device.type == "cpu"
    assert accelerator.mixed_precision == expected


def test_a_device_that_is_not_there(monkeypatch):
    """The whole message, with what there is."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError) as caught:
        assembly.make_accelerator(TrainingSettings(device="mps"))
    assert str(caught.value) == ("training.device: this machine has no 'mps'; expected one of auto, cpu")


def test_processes_share_a_step_evenly(monkeypatch):
    """The whole message where the clips of a step cannot be divided among the processes."""
    monkeypatch.setattr(assembly.Accelerator, "num_processes", 3)
    with pytest.raises(ConfigError) as caught:
        assembly.make_accelerator(TrainingSettings(device="cpu", precision="float32", batch_size=8))
    assert str(caught.value) == (
        "training.batch_size: must be a multiple of the number of processes, 3, got 8"
    )
    assembly.make_accelerator(TrainingSettings(device="cpu", precision="float32", batch_size=3))


def test_a_representation_has_the_settings_of_its_recipe():
    """Each setting reaches the representation."""
    settings = RepresentationSettings(sample_rate=8000, n_fft=256, hop=64, floor=1e-3)
    representation = assembly.make_representation(settings)
    assert {name: getattr(representation, name) for name in attrs.asdict(settings)} == attrs.asdict(settings)


def test_a_seed_draws_the_weights():
    """The same seed draws the same, another one others, and the caller's generator stands still."""
    representation = assembly.make_representation(RepresentationSettings(sample_rate=8000, n_fft=64, hop=32))
    settings = ModelSettings(
        width=8, fine_width=8, encoder_blocks=(1, 1), decoder_blocks=(1, 1), latents_per_second=500
    )
    state = torch.get_rng_state()
    one, same, other = (
        torch.cat([p.flatten() for p in assembly.make_model(settings, representation, seed).parameters()])
        for seed in (0, 0, 1)
    )
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    assert torch.equal(state, torch.get_rng_state())


def test_corpora_have_caches_of_their_own(recordings, tmp_path):
    """Runs on two corpora, or at two rates, do not decode in turn; the corpus's own folder stays clean."""
    settings = CorpusSettings(path=str(recordings), heldout_fraction=0.2)
    calls = []
    for rate in (8000, 4000, 8000, 4000):
        corpus = assembly.open_recipe_corpus(settings, rate, tmp_path, lambda *done: calls.append(done))
        assert corpus.sample_rate == rate
        assert len(corpus.heldout.recordings) == 1
    assert len(calls) == 2 * 5
    assert {path.name for path in tmp_path.iterdir()} == {".distill"}
    assert [path for path in recordings.rglob("*") if path.suffix not in (".wav", "")] == []


def test_without_a_path_the_demo_corpus_is_written_and_opened(tmp_path):
    """24 sounds of two seconds, beside the runs."""
    corpus = assembly.open_recipe_corpus(CorpusSettings(heldout_fraction=0.1), 8000, tmp_path)
    assert corpus.folder == tmp_path / ".distill" / "demo"
    assert len(corpus.train.recordings) + len(corpus.heldout.recordings) == 24
    assert corpus.train.seconds + corpus.heldout.seconds == pytest.approx(48, abs=0.1)


def test_a_model_is_loaded_as_it_was_trained(run):
    """Weights, buffers and representation are those of the run; the model does not train on."""
    vae, representation = assembly.load_model(run)
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
    assembly.load_model(run)


def test_an_unfinished_run_has_the_model_of_its_newest_checkpoint(run):
    """Where no model was saved yet, a checkpoint will do."""
    expected = load_state(run.model)
    run.model.unlink()
    vae, _ = assembly.load_model(run)
    torch.testing.assert_close(vae.patch_out.weight, expected["patch_out.weight"])


def test_a_run_without_a_model_yet(run):
    """The whole message for a run that was stopped at its beginning."""
    run.model.unlink()
    shutil.rmtree(run.checkpoints)
    with pytest.raises(RunError) as caught:
        assembly.load_model(run)
    assert str(caught.value) == (
        f"{run.folder}: holds no trained model yet\n"
        "Train it on with --resume; a model is saved every few minutes and at the end."
    )


def test_a_damaged_model(run):
    """The whole message for a file that is cut short."""
    run.model.write_bytes(run.model.read_bytes()[:1000])
    with pytest.raises(RunError) as caught:
        assembly.load_model(run)
    assert str(caught.value) == (
        f"{run.model}: the file is cut short, damaged, or not a safetensors file\n"
        "Restore it from a copy, or train again."
    )


def test_a_model_of_another_recipe(run):
    """A recipe that was changed by hand no longer describes the model, and says so in a few lines."""
    run.recipe.write_text(run.recipe.read_text().replace("width = 16", "width = 24"))
    with pytest.raises(RunError) as caught:
        assembly.load_model(run)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(
        f"{run.folder}: does not hold the model that its recipe describes: size mismatch for "
    )
    assert lines[1:] == ["Restore recipe.toml as the training wrote it."]


def test_a_recipe_that_does_not_fit(run):
    """A value out of bounds is reported with its path."""
    run.recipe.write_text(run.recipe.read_text().replace("width = 16", "width = 1"))
    with pytest.raises(ConfigError) as caught:
        assembly.load_model(run)
    assert str(caught.value) == "model.width: must be >= 8, got 1"


class Judge(nn.Module):
    """A term that learns as many numbers as it is told."""

    def __init__(self, size):
        super().__init__()
        self.learnt = nn.Parameter(torch.zeros(size))


def judging(size, *names):
    """Compose a loss of such terms."""
    specs = [
        TermSpec(name=name, config=TermConfig, build=lambda _: Judge(size), summary="") for name in names
    ]
    return compose(names, registry=registry_with(SimpleNamespace(distill_loss_terms=hookimpl(lambda: specs))))


@pytest.mark.parametrize("prefix", ["terms.", "terms.term_"])
def test_terms_have_what_they_learnt_in_a_run(run, prefix):
    """Those that the run has, an older run, too; another one stays as it was built, and the rest is left."""
    state = {f"{prefix}old.learnt": torch.ones(3), f"{prefix}gone.learnt": torch.ones(3)}
    save_checkpoint(run.checkpoints, 9, {"loss": state})
    loss = judging(3, "old", "new")
    assembly.load_terms(run, loss)
    assert [term.learnt.tolist() for term in loss.terms.values()] == [[1, 1, 1], [0, 0, 0]]


def test_terms_with_other_options_have_not_learnt_in_the_run(run):
    """The whole message."""
    save_checkpoint(run.checkpoints, 9, {"loss": {"terms.term_old.learnt": torch.ones(3)}})
    with pytest.raises(RunError) as caught:
        assembly.load_terms(run, judging(4, "old"))
    assert str(caught.value) == (
        f"{run.folder}: its terms were trained with other options than they have here\n"
        "Leave these options as the run has them."
    )


def test_finishing_keeps_the_latents_of_the_training_recordings(run, recordings, tmp_path):
    """One bank entry for each, none of what is held out."""
    corpus = open_corpus(recordings, sample_rate=8000, cache=tmp_path / "cache", heldout_fraction=0.2)
    vae, representation = assembly.load_model(run)
    run.latents.unlink()
    assembly.finish(run, vae, representation, corpus, SETTINGS)
    kept = load_state(run.latents)["latents"]
    assert set(kept) == {recording.name for recording in corpus.train.recordings}
    entries = assembly.load_latents(run, representation)
    for recording, entry in zip(corpus.train.recordings, entries, strict=True):
        expected = encode(vae, representation, corpus.train.read(recording))
        assert entry.latents.shape[:2] == (recording.channels, vae.latent_size)
        assert torch.equal(entry.latents, expected.latents)
        assert torch.equal(entry.coherence, expected.coherence)
    assert {recording.channels for recording in corpus.train.recordings} == {1, 2}


def test_latents_of_older_runs_are_mono(run):
    """They hold `[D, T']` for each recording, which is one channel."""
    latents = torch.arange(12.0).view(3, 4)
    save_state(run.latents, {"latents": {"a.wav": latents}})
    (entry,) = assembly.load_latents(run, assembly.load_model(run)[1])
    assert torch.equal(entry.latents, latents[None])
    assert torch.equal(entry.coherence, torch.ones(1, 1, 129) + 0j)


def test_finishing_keeps_what_baselines_need(run, recordings, tmp_path):
    """The statistics of the training recordings, with as many directions as the model has numbers a frame."""
    corpus = open_corpus(recordings, sample_rate=8000, cache=tmp_path / "cache", heldout_fraction=0.2)
    vae, representation = assembly.load_model(run)
    run.baselines.unlink()
    assert assembly.load_statistics(run) is None
    assembly.finish(run, vae, representation, corpus, SETTINGS)
    kept = assembly.load_statistics(run)
    expected = measure_recordings(corpus.train, representation, 2)  # 250 numbers in 125 frames a second
    assert torch.equal(kept.mean_frame, expected.mean_frame)
    assert torch.equal(kept.directions, expected.directions)
    assert kept.directions.shape == (129, 2)


def test_the_corpus_of_a_run(run, recordings):
    """As its recipe has it; none stands for the demo corpus."""
    assert assembly.corpus_of(run) == str(recordings)
    run.recipe.write_text("")
    assert assembly.corpus_of(run) is None


def test_finishing_calibrates_the_spread(run, recordings, tmp_path):
    """The spread comes near to the mean absolute error on the recordings; nothing else of the model moves."""
    corpus = open_corpus(recordings, sample_rate=8000, cache=tmp_path / "cache", heldout_fraction=0.2)
    vae, representation = assembly.load_model(run)
    torch.nn.init.constant_(vae.spread_out.bias, 5.0)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    sound = corpus.train.read(corpus.train.recordings[0])[:1]
    with torch.no_grad():
        features, error = vae.errors(representation(sound))

    def off(features, error):
        return float((vae.spread_of(features) - error).mean().detach().abs())

    far = off(features, error)
    assembly.finish(run, vae, representation, corpus, SETTINGS)
    assert off(features, error) < far - 0.05
    moved = [name for name, value in vae.state_dict().items() if not torch.equal(value, before[name])]
    assert moved == ["spread_out.weight", "spread_out.bias"]
    assert not any(parameter.requires_grad for parameter in vae.spread_out.parameters())


def test_a_run_without_latents_yet(run):
    """The whole message for a run that has not come to its end."""
    run.latents.unlink()
    with pytest.raises(RunError) as caught:
        assembly.load_latents(run, assembly.load_model(run)[1])
    assert str(caught.value) == (
        f"{run.folder}: holds no latents to make sounds of\n"
        "They are written at the end of the training: go on with --resume."
    )


def test_a_model_is_safetensors(run):
    """No file of a run is a pickle: the model is read by any safetensors reader, and rewritten alike."""
    save_state(run.model, load_state(run.model))
    assert {path.suffix for path in (run.model, run.latents, *run.checkpoints.iterdir())} == {".safetensors"}
    # A safetensors file begins with the length of its JSON header.
    data = run.model.read_bytes()
    assert data[8:9] == b"{"


def test_a_sharded_corpus_is_streamed(shards, tmp_path):
    """With the settings of the recipe, as one of several processes; nothing is decoded to a cache."""
    settings = CorpusSettings(path=f"{shards}/", pool_shards=2)
    corpus = assembly.open_recipe_corpus(settings, 8000, tmp_path, seed=5, process=1, processes=2)
    stream = corpus.train
    assert (stream.seed, stream.process, stream.processes, stream.pool_shards) == (5, 1, 2, 2)
    assert corpus.folder == str(shards)
    assert list(tmp_path.iterdir()) == []

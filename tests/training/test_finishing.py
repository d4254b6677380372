"""Tests of distill.training.finishing: what is left in the run folder after the last step."""

import shutil

import pytest
import torch

from distill.audio.corpus import open_corpus
from distill.config.settings import TrainingSettings
from distill.errors import TrainingError
from distill.evaluation.baselines import load_statistics, measure_recordings
from distill.model.loading import load_latents, load_model
from distill.model.sounds import encode
from distill.storage.checkpoints import load_state
from distill.storage.run import Run
from distill.training import finishing
from distill.training.finishing import finish

SETTINGS = TrainingSettings(batch_size=2, clip_seconds=0.2)


@pytest.fixture
def run(trained, tmp_path):
    """Copy the trained run, to be damaged."""
    return Run(shutil.copytree(trained.folder, tmp_path / "run"))


def test_finishing_keeps_the_latents_of_the_training_recordings(run, recordings, tmp_path):
    """The bank has one entry for each training recording, and none for a held-out one."""
    corpus = open_corpus(recordings, sample_rate=8000, cache=tmp_path / "cache", heldout_fraction=0.2)
    vae, representation = load_model(run)
    run.latents.unlink()
    finish(run, vae, representation, corpus, SETTINGS)
    kept = load_state(run.latents)["latents"]
    assert set(kept) == {recording.name for recording in corpus.train.recordings}
    entries = load_latents(run, representation, vae)
    for recording, entry in zip(corpus.train.recordings, entries.values(), strict=True):
        expected = encode(vae, representation, corpus.train.read(recording))
        assert entry.latents.shape[:2] == (recording.channels, vae.latent_size)
        assert torch.equal(entry.latents, expected.latents)
        assert torch.equal(entry.coherence, expected.coherence)
        assert entry.samples == recording.samples
    assert {recording.channels for recording in corpus.train.recordings} == {1, 2}


def test_finishing_keeps_what_baselines_need(run, recordings, tmp_path):
    """Statistics of the training recordings have a direction for each number in a frame."""
    corpus = open_corpus(recordings, sample_rate=8000, cache=tmp_path / "cache", heldout_fraction=0.2)
    vae, representation = load_model(run)
    run.baselines.unlink()
    assert load_statistics(run, representation.bins) is None
    finish(run, vae, representation, corpus, SETTINGS)
    kept = load_statistics(run, representation.bins)
    expected = measure_recordings(corpus.train, representation, 2)  # 250 numbers in 125 frames a second
    assert torch.equal(kept.mean_frame, expected.mean_frame)
    assert torch.equal(kept.directions, expected.directions)
    assert kept.directions.shape == (129, 2)


@pytest.mark.parametrize(
    ("what", "file", "name"),
    [
        ("calibrate", "model", "spread_out.bias"),
        ("encode_all", "latents", "a.wav, b.wav, below/a.wav, stereo.wav"),
        ("measure_recordings", "baselines", "mean_frame"),
    ],
)
def test_results_that_are_not_finite_are_not_saved(run, recordings, tmp_path, monkeypatch, what, file, name):
    """Earlier results stay if new ones are not finite; the message names file and value."""
    corpus = open_corpus(recordings, sample_rate=8000, cache=tmp_path / "cache", heldout_fraction=0.2)
    vae, representation = load_model(run)
    function, path = getattr(finishing, what), getattr(run, file)
    before = path.read_bytes()

    def overflow(*words, **options):
        result = function(*words, **options)
        if what == "calibrate":
            vae.spread_out.bias.data.fill_(torch.inf)
        elif what == "encode_all":
            result[0].latents.fill_(torch.nan)
        else:
            result.mean_frame.fill_(torch.nan)
        return result

    monkeypatch.setattr(finishing, what, overflow)
    with pytest.raises(TrainingError) as caught:
        finish(run, vae, representation, corpus, SETTINGS)
    assert path.read_bytes() == before
    assert str(caught.value) == (
        f"{path}: would hold values that are not finite, and was not written: {name}\n"
        "What was saved before is still there. To finish the run with an earlier checkpoint: "
        f"distill train --resume --out {run.folder} --from best"
    )


@pytest.mark.usefixtures("calibrated")
def test_finishing_calibrates_the_spread(run, recordings, tmp_path):
    """The spread comes near to the mean absolute error on the recordings; nothing else of the model moves."""
    corpus = open_corpus(recordings, sample_rate=8000, cache=tmp_path / "cache", heldout_fraction=0.2)
    vae, representation = load_model(run)
    torch.nn.init.constant_(vae.spread_out.bias, 5.0)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    sound = corpus.train.read(corpus.train.recordings[0])[:1]
    with torch.no_grad():
        features, error = vae.errors(representation(sound))

    def off(features, error):
        return float((vae.spread_of(features) - error).mean().detach().abs())

    far = off(features, error)
    finish(run, vae, representation, corpus, SETTINGS)
    assert off(features, error) < far - 0.05
    moved = [name for name, value in vae.state_dict().items() if not torch.equal(value, before[name])]
    assert moved == ["spread_out.weight", "spread_out.bias"]
    assert not any(parameter.requires_grad for parameter in vae.spread_out.parameters())

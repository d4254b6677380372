"""Tests of `distill evaluate`."""

import json
import sys

import numpy as np
import pytest
import soundfile
import torch
from auraloss.freq import MultiResolutionSTFTLoss

from distill import evaluation
from distill.assembly import load_model
from distill.corpus import open_corpus, write_shards
from distill.run import Run
from distill.sounds import reconstruct

MODULE = sys.modules["distill.cli.evaluate"]  # beside which `distill.cli.evaluate` is the command
METRICS = {
    "log_spectral_distance",
    "multi_resolution_stft",
    "snr",
    "si_sdr",
    "level_difference",
    "peak",
    "terms",
}


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Write two recordings, one of which begins with a silence longer than is measured, and no audio."""
    monkeypatch.setattr(MODULE, "_LONGEST_SECONDS", 1)
    folder = tmp_path / "corpus"
    folder.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 4000)
    soundfile.write(folder / "noise.wav", noise, 8000, "FLOAT")
    soundfile.write(folder / "silence.wav", np.concatenate([np.zeros(8000), noise]), 8000)
    (folder / "text.wav").write_text("no audio")
    return folder


def test_json_holds_the_model_and_its_baselines(distill, trained, corpus):
    """Strict JSON with the metrics of each contender, and what was left out or skipped and why."""
    result = distill("evaluate", trained.folder, corpus, "--json")
    assert (result.status, result.err) == (0, "")
    told = json.loads(result.out, parse_constant=pytest.fail)
    assert list(told) == ["model", "mean_spectrum", "silence", "skipped"]
    for contender in ("model", "mean_spectrum", "silence"):
        assert set(told[contender]["mean"]) == METRICS
        assert (told[contender]["measured"], told[contender]["left_out"]) == (1, 1)
        assert [each["name"] for each in told[contender]["recordings"]] == ["noise.wav", "silence.wav"]
        assert told[contender]["recordings"][1]["left_out"] == "the recording is silent"
    assert told["skipped"] == [{"path": "text.wav", "reason": "is not audio that libsndfile reads"}]


def test_the_model_is_measured_on_the_recording(distill, trained, corpus):
    """The value is that of its refined reconstruction; silence and the mean spectrum have their own."""
    told = json.loads(distill("evaluate", trained.folder, corpus, "--json").out)
    samples, _ = soundfile.read(corpus / "noise.wav", dtype="float32")
    noise = torch.from_numpy(samples)[None]
    vae, representation = load_model(Run(trained.folder))
    answers = {
        "model": reconstruct(vae, representation, noise, refinements=30),
        "mean_spectrum": evaluation.mean_spectrum_baseline(vae.mean_frame, representation)(noise),
        "silence": torch.zeros_like(noise),
    }
    for contender, answer in answers.items():
        expected = float(evaluation.log_spectral_distance(answer, noise))
        assert told[contender]["mean"]["log_spectral_distance"] == pytest.approx(expected, rel=1e-4)
    assert told["silence"]["mean"]["snr"] == 0
    plain = json.loads(distill("evaluate", trained.folder, corpus, "--json", "--refine", 0).out)
    expected = float(evaluation.log_spectral_distance(reconstruct(vae, representation, noise), noise))
    assert plain["model"]["mean"]["log_spectral_distance"] == pytest.approx(expected, rel=1e-4)


def test_a_table_for_people(distill, trained, corpus):
    """A line for each contender under its heads, within 80 columns, and what is not in it."""
    result = distill("evaluate", trained.folder, corpus)
    heads, model, spectrum, silence, blank, note, *rest = result.out.splitlines()
    assert heads.split() == ["LSD", "dB", "MR-STFT", "SI-SDR", "dB", "level", "dB", "peak"]
    told = json.loads(distill("evaluate", trained.folder, corpus, "--json").out)
    for line, name in ((model, "model"), (spectrum, "mean_spectrum"), (silence, "silence")):
        mean = told[name]["mean"]
        assert line.split() == [
            name,
            f"{mean['log_spectral_distance']:.2f}",
            f"{mean['multi_resolution_stft']:.2f}",
            f"{mean['si_sdr']:.1f}",
            f"{mean['level_difference']:.1f}",
            f"{mean['peak']:.2f}",
        ]
        assert len(line) == len(heads) <= 80
    assert blank == ""
    assert note == "Mean over 1 of 2 recordings; LSD and MR-STFT: lower is better."
    assert rest == [
        "left out: silence.wav: the recording is silent",
        "skipped: text.wav: is not audio that libsndfile reads",
    ]


def test_nothing_to_measure(distill, trained, corpus):
    """A corpus that is silent as far as it is measured has no metrics, and says so in both forms."""
    (corpus / "noise.wav").unlink()
    result = distill("evaluate", trained.folder, corpus)
    assert result.status == 0
    assert result.out.splitlines()[1:4] == [
        f"{name:14}nothing could be measured" for name in ("model", "mean_spectrum", "silence")
    ]
    told = json.loads(distill("evaluate", trained.folder, corpus, "--json").out)
    assert told["model"]["mean"] is None


def test_of_a_long_recording_the_first_minute_is_measured(distill, trained, tmp_path, monkeypatch):
    """What comes after it does not count."""
    assert MODULE._LONGEST_SECONDS == 60  # noqa: SLF001  # shortened for the test
    monkeypatch.setattr(MODULE, "_LONGEST_SECONDS", 1)
    sound = np.random.default_rng(0).normal(0, 0.1, 8000)
    values = []
    for name, rest in (("short", []), ("long", np.ones(4000))):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", np.concatenate([sound, rest]), 8000, "FLOAT")
        told = json.loads(distill("evaluate", trained.folder, tmp_path / name, "--json").out)
        values.append(told["model"]["mean"])
    assert values[0] == values[1]


@pytest.fixture
def sharded(tmp_path):
    """Write two training shards and three held-out ones of a second each; give the folder."""
    (tmp_path / "sounds").mkdir()
    for number in range(5):
        sound = np.random.default_rng(number).normal(0, 0.1, 8000)
        soundfile.write(tmp_path / "sounds" / f"{number}.wav", sound, 8000)
    write_shards(
        tmp_path / "sounds", tmp_path / "shards", sample_rate=8000, heldout_fraction=0.6, minutes=1 / 60
    )
    return tmp_path / "shards"


def test_of_shards_those_held_out_are_measured(distill, trained, sharded):
    """All of them, and each as the recording it was made of."""
    words = ("--refine", 0, "--json")
    told = json.loads(distill("evaluate", trained.folder, f"{sharded}/", *words).out)
    manifest = json.loads((sharded / "shards.json").read_text())
    heldout = {each["name"]: each["metrics"] for each in told["model"]["recordings"]}
    assert len(heldout) == len(manifest["heldout"]) >= 2
    assert len(manifest["train"]) + len(heldout) == 5
    folder = sharded.parent / "sounds"
    corpus = open_corpus(folder, sample_rate=8000, cache=sharded.parent / "cache", heldout_fraction=0)
    ranks = {each.name: int(each.digest, 16) / 16**32 for each in corpus.train.recordings}
    assert set(heldout) == {name for name, rank in ranks.items() if rank < 0.6}
    whole = json.loads(distill("evaluate", trained.folder, folder, *words).out)
    for each in whole["model"]["recordings"]:
        if each["name"] in heldout:
            one, other = (dict(metrics) for metrics in (heldout[each["name"]], each["metrics"]))
            assert one.pop("terms") == other.pop("terms") == {}
            assert one == pytest.approx(other, rel=1e-3)
    assert told["skipped"] == []


def test_shards_of_which_none_is_held_out(distill, trained, shards):
    """The whole message, with status 2."""
    result = distill("evaluate", trained.folder, shards)
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: {shards}: none of its recordings is held out\n"
        "Give other recordings, or write the shards again with --heldout 0.1.\n"
    )


def test_shards_at_another_sample_rate(distill, trained, tmp_path, recordings):
    """The whole message, with status 2."""
    write_shards(recordings, tmp_path / "shards", sample_rate=16000, heldout_fraction=0, minutes=1)
    result = distill("evaluate", trained.folder, tmp_path / "shards")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: {tmp_path / 'shards'}: its shards are at 16000 Hz, and the model is at 8000 Hz\n"
        "Give the recordings themselves, or write shards with --rate 8000.\n"
    )


def test_a_url_is_one_of_shards(distill, trained):
    """And no path below this folder."""
    result = distill("evaluate", trained.folder, "s3://bucket/shards/")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        "Error: s3://bucket/shards: shards cannot be read by 's3'; expected one of http, https, gs, hf\n"
        "Give such a URL, or mount the storage and give the folder.\n"
    )


def test_a_corpus_that_is_not_there(distill, trained, tmp_path):
    """The whole message, with status 2."""
    result = distill("evaluate", trained.folder, tmp_path / "gone")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: {tmp_path / 'gone'}: there is no such file or folder\n"
        "Give a folder of recordings, or a single recording.\n"
    )


def test_the_corpus_stays_clean(distill, trained, corpus):
    """What is decoded goes elsewhere, and is gone afterwards."""
    before = sorted(corpus.parent.rglob("*"))
    distill("evaluate", trained.folder, corpus)
    assert sorted(corpus.parent.rglob("*")) == before


def test_terms_are_measures_too(distill, trained, corpus):
    """With --loss, the value of each term between recording and reconstruction stands beside the others."""
    words = ("evaluate", trained.folder, corpus, "--loss", "recon,waveform", "--refine", 0)
    told = json.loads(distill(*words, "--json").out)
    samples, _ = soundfile.read(corpus / "noise.wav", dtype="float32")
    noise = torch.from_numpy(samples)[None]
    vae, representation = load_model(Run(trained.folder))
    made = reconstruct(vae, representation, noise)
    sizes = [512, 1024, 2048], [128, 256, 512], [512, 1024, 2048]
    expected = float(MultiResolutionSTFTLoss(*sizes)(made[None], noise[None]))
    terms = told["model"]["mean"]["terms"]
    assert list(terms) == ["reconstruction", "waveform"]
    assert terms["waveform"] == pytest.approx(expected, rel=1e-4)
    heads, model, *_ = distill(*words).out.splitlines()
    assert heads.split()[-2:] == ["reconstruction", "waveform"]
    assert model.split()[-2:] == [f"{terms[name]:.3g}" for name in terms]


def test_a_term_that_needs_more_than_sounds_is_refused(distill, trained, corpus):
    """A posterior there is none, when sounds are compared: one message, status 2."""
    result = distill("evaluate", trained.folder, corpus, "--loss", "kl", "--refine", 0)
    assert (result.status, result.err) == (
        2,
        (
            "Error: LossInputs: a chosen term needs the posterior and the inputs have none\n"
            "Pass posterior=Posterior(mu, logvar), or leave the term out.\n"
        ),
    )

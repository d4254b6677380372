"""Tests of `distill evaluate`."""

import csv
import json
import shutil
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import soundfile
import torch
from auraloss.freq import MultiResolutionSTFTLoss

from distill import __version__, evaluation
from distill.evaluation import baselines
from distill.evaluation import recordings as measured
from distill.evaluation.baselines import load_statistics
from distill.model.loading import load_model
from distill.model.sounds import reconstruct
from distill.storage.run import Run

ROWS = ["model", "linear_code", "mean_spectrum", "silence", "ceiling"]
LABELS = {name: name.replace("_", " ") for name in ROWS}
METRICS = {
    *("log_spectral_distance", "multi_resolution_stft", "snr", "si_sdr", "level_difference", "peak", "terms"),
    *("mel", "tones", "texture", "original_texture", "zimtohrli", "visqol", "pesq", "stoi"),
}


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    """Write two recordings, one of which begins with a silence longer than is measured, and no audio."""
    monkeypatch.setattr(measured, "_LONGEST_SECONDS", 1)
    folder = tmp_path / "corpus"
    folder.mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 4000)
    soundfile.write(folder / "noise.wav", noise, 8000, "FLOAT")
    soundfile.write(folder / "silence.wav", np.concatenate([np.zeros(8000), noise]), 8000)
    (folder / "text.wav").write_text("no audio")
    return folder


@pytest.fixture
def unrated(monkeypatch):
    """Hide Zimtohrli, in which an evaluation spends half of its time, from a test of something else."""
    monkeypatch.setitem(sys.modules, "zimtohrli", None)


def test_json_holds_the_model_and_its_baselines(distill, trained, corpus):
    """The output is strict JSON with the metrics of each contender, and with what was left out and why."""
    result = distill("evaluate", trained.folder, corpus, "--json")
    assert (result.status, result.err) == (0, "")
    told = json.loads(result.out, parse_constant=pytest.fail)
    assert list(told) == [*ROWS, "skipped", "remarks"]
    for contender in ROWS:
        mean = told[contender]["mean"]
        assert set(mean) == METRICS
        assert told[contender]["mean_absolute_level"] == abs(mean["level_difference"])
        assert told[contender]["worst"] == {"name": "noise.wav", "zimtohrli": mean["zimtohrli"]}
        assert (told[contender]["measured"], told[contender]["left_out"]) == (1, 1)
        assert [each["name"] for each in told[contender]["recordings"]] == ["noise.wav", "silence.wav"]
        assert [each["trained_on"] for each in told[contender]["recordings"]] == [False, False]
        assert told[contender]["recordings"][1]["left_out"] == "the recording is silent"
        # Noise has no tones, and ViSQOL is not installed here.
        assert (mean["tones"], mean["visqol"]) == (None, None)
        assert told[contender]["counts"]["zimtohrli"] == 1
    assert told["skipped"] == [{"path": "text.wav", "reason": "is not audio that libsndfile reads"}]


def test_each_contender_is_measured_on_the_recording(distill, trained, corpus):
    """The values are those of the refined reconstruction and of the answers of the baselines."""
    told = json.loads(distill("evaluate", trained.folder, corpus, "--json", "--refine", 3).out)
    samples, _ = soundfile.read(corpus / "noise.wav", dtype="float32")
    noise = torch.from_numpy(samples)[None]
    vae, representation = load_model(Run(trained.folder))
    statistics = load_statistics(Run(trained.folder), 129)
    answers = {
        "model": reconstruct(vae, representation, noise, refinements=3),
        "linear_code": baselines.linear_code(statistics, vae, representation)(noise),
        "mean_spectrum": baselines.mean_spectrum_baseline(statistics.mean_frame, representation)(noise),
        "silence": torch.zeros_like(noise),
        "ceiling": baselines.ceiling(vae, representation)(noise),
    }
    for contender, answer in answers.items():
        mean = told[contender]["mean"]
        expected = float(evaluation.log_spectral_distance(answer, noise))
        assert mean["log_spectral_distance"] == pytest.approx(expected, rel=1e-4)
        assert mean["mel"] == pytest.approx(evaluation.mel_distance(answer[0], noise[0], 8000), rel=1e-4)
        rating = evaluation.Zimtohrli()(answer[0], noise[0], 8000)
        assert mean["zimtohrli"] == pytest.approx(rating, rel=1e-4)
    assert told["silence"]["mean"]["snr"] == 0
    plain = json.loads(distill("evaluate", trained.folder, corpus, "--json").out)
    expected = float(evaluation.log_spectral_distance(reconstruct(vae, representation, noise), noise))
    assert plain["model"]["mean"]["log_spectral_distance"] == pytest.approx(expected, rel=1e-4)


def test_a_table_for_people(distill, trained, corpus):
    """The output lists each measure on a line of 80 columns at most, then recordings and what is left out."""
    result = distill("evaluate", trained.folder, corpus)
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert max(map(len, lines[:11])) <= 80
    told = json.loads(distill("evaluate", trained.folder, corpus, "--json").out)
    rows = dict(zip(ROWS, lines[2:7], strict=True))
    assert [line[:13].strip() for line in lines[2:8]] == [*map(LABELS.get, ROWS), "originals"]
    assert lines[1].split() == [
        *("Zimtohrli", "tones", "texture", "mean", "abs", "worst", "mel", "LSD", "MR-STFT")
    ]  # fmt: skip
    mean = told["model"]["mean"]
    level = f"{mean['level_difference']:z.1f}"
    assert rows["model"].split() == [
        *("model", f"{mean['zimtohrli']:.2f}", "-", f"{mean['texture']:.1f}"),
        *(level, level.removeprefix("-"), level),
        *(f"{mean['mel']:.1f}", f"{mean['log_spectral_distance']:.2f}"),
        f"{mean['multi_resolution_stft']:.2f}",
    ]
    assert rows["silence"].split()[2:7] == ["-", "-", "-", "-", "-"]
    assert lines[7].split() == ["originals", f"{mean['original_texture']:.1f}"]
    assert lines[8] == ""
    assert lines[9].split() == [
        *("Zimtohrli", "tones", "texture", "original's", "level", "mel", "LSD", "trained", "on"),
        *("worst", "first"),
    ]
    assert lines[10].split() == [
        *(f"{mean['zimtohrli']:.2f}", "-", f"{mean['texture']:.1f}", f"{mean['original_texture']:.1f}"),
        *(level, f"{mean['mel']:.1f}", f"{mean['log_spectral_distance']:.2f}", "no", "noise.wav"),
    ]
    assert lines[11:] == [
        "",
        "Measured on 1 of 2 recordings (tones: over 0). Best: Zimtohrli 5, tones 1,",
        "texture as the originals', everything else 0.",
        "level -: not defined for silence",
        "left out: silence.wav: the recording is silent",
        "skipped: text.wav: is not audio that libsndfile reads",
        'ViSQOL: pip install "distill[hearing]"',
    ]


@pytest.mark.usefixtures("visqol")
def test_visqol_is_asked_unless_it_is_left_out(distill, bare, corpus):
    """ViSQOL adds a column and a number; if it is left out, neither appears, nor advice to install it."""
    words = ("evaluate", bare, corpus)  # it takes a second for each contender
    told = json.loads(distill(*words, "--json").out)
    samples, _ = soundfile.read(corpus / "noise.wav", dtype="float32")
    noise = torch.from_numpy(samples)
    made = reconstruct(*load_model(Run(bare)), noise[None])[0]
    assert told["model"]["mean"]["visqol"] == pytest.approx(evaluation.Visqol()(made, noise, 8000), rel=1e-4)
    assert told["silence"]["mean"]["visqol"] is None
    without = distill(*words, "--no-visqol")
    assert without.out.splitlines()[1].split()[:2] == ["Zimtohrli", "tones"]
    assert "ViSQOL: pip" not in without.out
    assert json.loads(distill(*words, "--no-visqol", "--json").out)["model"]["mean"]["visqol"] is None


@pytest.mark.usefixtures("unrated")
def test_without_models_of_listeners(distill, trained, corpus):
    """Their columns are left out, and one line tells how to get them; JSON has null."""
    words = ("evaluate", trained.folder, corpus)
    result = distill(*words)
    assert (result.status, result.err) == (0, "")
    lines = result.out.splitlines()
    assert lines[1].split()[0] == "tones"
    assert lines[9].split()[0] == "tones"
    assert lines[-1] == 'Zimtohrli and ViSQOL: pip install "distill[hearing]"'
    told = json.loads(distill(*words, "--json").out)["model"]
    assert (told["mean"]["zimtohrli"], told["mean"]["visqol"]) == (None, None)
    assert told["worst"] == {"name": "noise.wav", "mel": told["mean"]["mel"]}


@pytest.mark.usefixtures("unrated")
def test_a_run_without_baselines(distill, bare, corpus):
    """A run of an older version lacks the rows that need baselines, and the output says why."""
    result = distill("evaluate", bare, corpus)
    assert (result.status, result.err) == (0, "")
    assert [line[:13].strip() for line in result.out.splitlines()[2:6]] == [
        *("model", "silence", "ceiling", "originals")
    ]  # fmt: skip
    assert (
        "linear code and mean spectrum: left out, since the run has no baselines.safetensors, "
        "which the end of a training run writes"
    ) in result.out.splitlines()
    told = json.loads(distill("evaluate", bare, corpus, "--json").out)
    assert (told["linear_code"], told["mean_spectrum"]) == (None, None)
    assert told["ceiling"]["measured"] == 1


def test_the_same_twice(distill, trained, corpus):
    """Two evaluations of the same corpus print the same output."""
    for words in (("--json",), ()):
        first, second = (distill("evaluate", trained.folder, corpus, *words).out for _ in range(2))
        assert first == second


def test_nothing_to_measure(distill, trained, corpus):
    """A corpus that is silent as far as it is measured has no metrics, and says so in both forms."""
    (corpus / "noise.wav").unlink()
    result = distill("evaluate", trained.folder, corpus)
    assert result.status == 0
    assert result.out.splitlines()[2:7] == [f"{LABELS[name]:13}nothing could be measured" for name in ROWS]
    assert result.out.splitlines()[7:9] == [
        "",
        "Mean over 0 of 1 recording. Best: Zimtohrli 5, tones 1, texture as the",
    ]
    told = json.loads(distill("evaluate", trained.folder, corpus, "--json").out)
    assert told["model"]["mean"] is None


def test_of_a_long_recording_the_first_minute_is_measured(distill, bare, tmp_path, monkeypatch):
    """The part of a recording after the first minute does not change its measures."""
    assert measured._LONGEST_SECONDS == 60  # noqa: SLF001  # shortened for the test
    monkeypatch.setattr(measured, "_LONGEST_SECONDS", 1)
    sound = np.random.default_rng(0).normal(0, 0.1, 8000)
    values = []
    for name, rest in (("short", []), ("long", np.ones(4000))):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", np.concatenate([sound, rest]), 8000, "FLOAT")
        told = json.loads(distill("evaluate", bare, tmp_path / name, "--json").out)
        values.append(told["model"]["mean"])
    assert values[0] == values[1]


def test_a_corpus_that_is_not_there(distill, trained, tmp_path):
    """A corpus that is missing is refused with one message and status 2."""
    result = distill("evaluate", trained.folder, tmp_path / "gone")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: {tmp_path / 'gone'}: there is no such file or folder\n"
        "Pass a folder of recordings, or a single recording.\n"
    )


def test_the_corpus_stays_clean(distill, trained, corpus):
    """An evaluation leaves no file in the corpus or beside it."""
    before = sorted(corpus.parent.rglob("*"))
    distill("evaluate", trained.folder, corpus)
    assert sorted(corpus.parent.rglob("*")) == before


@pytest.mark.usefixtures("unrated")
def test_terms_are_measures_too(distill, trained, corpus):
    """With --loss, the value of each term between recording and reconstruction stands beside the others."""
    words = ("evaluate", trained.folder, corpus, "--loss", "recon,waveform")
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
    _, heads, model, *_ = distill(*words).out.splitlines()
    assert heads.split()[-2:] == ["reconstruction", "waveform"]
    assert model.split()[-2:] == [f"{terms[name]:.3g}" for name in terms]


def test_a_term_that_needs_more_than_sounds_is_refused(distill, trained, corpus):
    """A term that needs a posterior is refused with one message and status 2, as sounds have none."""
    result = distill("evaluate", trained.folder, corpus, "--loss", "kl")
    assert (result.status, result.err) == (
        2,
        (
            f"Error: kl (distill {__version__}): the term needs the posterior, and the inputs have none\n"
            "Leave the term out, or, in Python, pass posterior=Posterior(mu=mu, logvar=logvar).\n"
        ),
    )


def test_what_the_run_held_out_is_measured(distill, trained):
    """Without a given corpus, the one of five recordings that the run did not train on is measured."""
    told = json.loads(distill("evaluate", trained.folder, "--heldout", "--json").out)
    (held_out,) = json.loads((trained.folder / "split.json").read_text())["heldout"]
    ((name, trained_on),) = ((each["name"], each["trained_on"]) for each in told["model"]["recordings"])
    assert (name, trained_on) == (held_out["name"], False)


@pytest.mark.usefixtures("unrated")
def test_recordings_that_were_trained_on_are_marked(distill, bare, recordings, tmp_path):
    """The marks survive a moved folder, and the table shows the worst recordings, as many as asked for."""
    moved = tmp_path / "moved"
    shutil.copytree(recordings, moved)
    words = ("evaluate", bare, moved)
    told = json.loads(distill(*words, "--json").out)
    marks = {each["name"]: each["trained_on"] for each in told["model"]["recordings"]}
    assert sorted(marks.values()) == [False, True, True, True, True]
    lines = distill(*words, "--files", 2).out.splitlines()
    distances = {each["name"]: each["metrics"]["mel"] for each in told["model"]["recordings"]}
    worst = sorted(distances, key=distances.get, reverse=True)[:2]
    assert [line.split()[-2:] for line in lines[8:10]] == [
        [{True: "yes", False: "no"}[marks[name]], name] for name in worst
    ]
    assert lines[10] == "and 3 more: --files 5"
    assert lines[12].startswith("Mean over 5 recordings, 4 of them trained on")
    assert distill(*words, "--files", 0).out.splitlines()[6:8] == ["", lines[12]]


@pytest.mark.usefixtures("unrated")
def test_it_is_not_known_what_was_trained_on(distill, trained, corpus, tmp_path):
    """A run of an older version has null in the JSON and a question mark in the table."""
    run = tmp_path / "run"
    shutil.copytree(trained.folder, run)
    (run / "split.json").unlink()
    told = json.loads(distill("evaluate", run, corpus, "--json").out)
    assert [each["trained_on"] for each in told["model"]["recordings"]] == [None, None]
    assert distill("evaluate", run, corpus).out.splitlines()[10].split()[-2:] == [
        *("?", "noise.wav")
    ]  # fmt: skip


@pytest.mark.skipif(find_spec("pesq") is None, reason="PESQ is compiled, and not installed")
def test_speech_is_measured_where_it_is_asked_for(distill, trained, tmp_path):
    """Measures of speech have their own columns and JSON entries, and the file holds every measure."""
    noise = np.random.default_rng(0).normal(0, 0.1, 4000)
    soundfile.write(tmp_path / "noise.wav", noise, 8000, "FLOAT")
    file = tmp_path / "table.csv"
    words = ("evaluate", trained.folder, tmp_path / "noise.wav", "--csv", file)
    told = json.loads(distill(*words, "--speech", "--json").out)
    heads, model, *_ = distill(*words, "--columns", "stoi,si_sdr", "--overwrite").out.splitlines()
    mean = told["model"]["mean"]
    vae, representation = load_model(Run(trained.folder))
    original = torch.from_numpy(noise).float()
    made = reconstruct(vae, representation, original[None])[0]
    assert mean["pesq"] == pytest.approx(evaluation.Pesq()(made, original, 8000), rel=1e-3)
    assert mean["stoi"] == pytest.approx(evaluation.Stoi()(made, original, 8000), abs=1e-3)
    assert heads.split() == ["STOI", "SI-SDR"]
    assert model.split() == ["model", f"{mean['stoi']:.2f}", f"{mean['si_sdr']:.1f}"]
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["row"], row["contender"]) for row in rows] == [
        (row, contender) for contender in ROWS for row in ("mean", "recording")
    ]
    assert float(rows[1]["stoi"]) == pytest.approx(mean["stoi"])


def test_what_cannot_be_shown_or_written_is_said_first(distill, trained, corpus, monkeypatch):
    """A wrong output option is refused with one message and status 2 before anything is measured."""
    words = ("evaluate", trained.folder, corpus)
    result = distill(*words, "--columns", "mel,visqol", "--no-visqol")
    assert (result.status, result.out) == (2, "")
    assert result.err.endswith(
        "Error: --columns has visqol, which --no-visqol leaves out. Leave out one of them.\n"
    )
    result = distill(*words, "--columns", "mel,nothing")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        "Error: columns: there is no measure 'nothing'; expected all, or some of zimtohrli, visqol, pesq, "
        "stoi, tones, texture, level_difference, mel, log_spectral_distance, multi_resolution_stft, snr, "
        "si_sdr, peak, frechet\nPass them comma-separated, such as mel,si_sdr.\n"
    )
    result = distill(*words, "--csv", corpus / "text.wav")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: {corpus / 'text.wav'}: exists already\n"
        "Add --overwrite to replace what is there, or choose another file with --csv.\n"
    )
    monkeypatch.setitem(sys.modules, "pesq", None)
    result = distill(*words, "--speech")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        "Error: speech: PESQ and STOI need the packages pesq and pystoi, which cannot be imported: "
        "import of pesq halted; None in sys.modules\n"
        'Install them: pip install "distill[speech]"\n'
    )

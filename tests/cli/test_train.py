"""Tests of `distill train`: what it reads, what it refuses, and which run it goes on with."""

import json
import os
import signal
import threading
import time
import tomllib
from contextlib import suppress

import numpy as np
import pytest
import soundfile

from distill.recipe import DEFAULT_LOSS

LISTING = "Choose from: stft, reconstruction or recon, kl, waveform\n"
OTHER = "waveform" if "stft" in DEFAULT_LOSS else "stft"
GIVE_AUDIO = "Use recordings that libsndfile reads, such as WAV, FLAC, OGG or MP3.\n"


pytestmark = pytest.mark.usefixtures("only_built_in")


def tree(folder):
    """List what is below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def read_recipe(folder):
    """Read a run's recipe as plain data."""
    return tomllib.loads((folder / "recipe.toml").read_text())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--loss", "stfd,kl"], "unknown loss term 'stfd'; did you mean 'stft'?\n" + LISTING),
        (["--loss", ""], "no loss term is chosen\n" + LISTING),
        (
            ["--set", f"loss.{OTHER}.weight=2"],
            f"loss.{OTHER}: the loss has {', '.join(DEFAULT_LOSS)}; add this term with --loss\n",
        ),
        (
            ["--loss", "stft", "--set", "loss.stft.wieght=2", "--set", "training.seed=2.5"],
            (
                "loss.stft.wieght: unknown option, got 2; did you mean 'weight'?\n"
                "training.seed: expected a whole number, got 2.5\n"
            ),
        ),
        (
            ["--loss", "stft", "--set", "training.free_bits=2"],
            "training.free_bits: is now loss.kl.free_bits, and the term 'kl' is not chosen\n",
        ),
        (["--set", "x"], '--set: expected PATH=VALUE, got "x"\nFor example: --set loss.stft.weight=2.0\n'),
        (["--set", "training=3"], "training: expected a table, got 3\n"),
        (["--steps", "0"], "training.steps: must be >= 1, got 0\n"),
        (["--minutes", "0"], "training.minutes: must be > 0, got 0.0\n"),
        (["--steps", "1", "--minutes", "2"], "training: set either minutes or steps, not both: 2 and 1\n"),
        (
            ["--device", "cua"],
            (
                'training.device: expected one of "auto", "cpu", "cuda", "mps", got "cua"'
                "; did you mean 'cuda'?\n"
            ),
        ),
        (
            ["--config", "gone.toml"],
            "gone.toml: no such file\nCheck the path, or write a recipe to start from with: distill recipe\n",
        ),
        (
            ["--config", "needs.toml"],
            (
                "recipe: it needs loss terms that are not installed: 'band_energy' of band-losses 1.5\n"
                "Install them: pip install band-losses==1.5\n"
            ),
        ),
        (
            ["--set", "model.latents_per_second=1"],
            "model.latents_per_second: must be at least 18 with this representation, got 1\n",
        ),
    ],
)
def test_a_recipe_that_is_wrong(distill, recordings, here, monkeypatch, words, message):
    """A wrong recipe gives one message and status 2, and nothing is trained or written."""
    monkeypatch.setattr("distill.training.trainer.Trainer.train", lambda *_: pytest.fail("it was accepted"))
    config = '[loss.kl]\n[loss.band_energy]\nbands = 3\n[provenance]\nband_energy = "band-losses 1.5"\n'
    (here / "needs.toml").write_text(config)
    stages = ["--set", "model.encoder_blocks=[2,1]", "--set", "model.decoder_blocks=[1,2]"]
    frames = ["--set", "representation.sample_rate=8000", "--set", "representation.hop=64"]
    precision = ["--set", "training.precision=float32"]
    result = distill("train", recordings, "--out", "new", *stages, *frames, *precision, *words)
    assert (result.status, result.out) == (2, "")
    assert result.err == f"Error: {message}"
    assert tree(here) == ["needs.toml"]


@pytest.mark.parametrize(
    ("corpus", "message"),
    [
        (
            "gone",
            "{}: there is no such file or folder\nPass a folder of recordings, or a single recording.\n",
        ),
        ("empty", "{}: holds no audio files\n" + GIVE_AUDIO),
        (
            "broken",
            "{}: no audio file here can be used:\n"
            "  none.flac: is empty\n"
            "  text.wav: is not audio that libsndfile reads\n" + GIVE_AUDIO,
        ),
    ],
)
def test_a_corpus_that_is_wrong(distill, here, tiny, corpus, message):
    """A wrong corpus gives one message with the reasons and status 2, and leaves no run and no cache."""
    (here / "empty").mkdir()
    (here / "broken").mkdir()
    (here / "broken" / "text.wav").write_text("no audio")
    (here / "broken" / "none.flac").touch()
    before = tree(here)
    result = distill("train", corpus, *tiny, "--steps", 1, "--out", "new")
    assert (result.status, result.out) == (2, "")
    assert result.err == "Error: " + message.format(here / corpus)
    assert tree(here) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--out", "run"],
            "run: holds a run already\nAdd --resume to go on with it, or choose another folder with --out.\n",
        ),
        (["--out", "used"], "used: is not empty, and holds no run\nChoose a new folder with --out.\n"),
        (["--out", "file"], "file: is a file\nPass a folder with --out.\n"),
        (
            ["--out", "gone", "--resume"],
            "gone: there is no such run folder\nPass the folder that `distill train --out` wrote.\n",
        ),
        (
            ["--out", "used", "--resume"],
            (
                "used: is not a run folder: it holds no recipe.toml\n"
                "Pass the folder that `distill train --out` wrote.\n"
            ),
        ),
    ],
)
def test_a_run_folder_that_is_wrong(distill, recordings, here, words, message):
    """A wrong run folder gives one message and status 2, and its content stays as it is."""
    for folder, name in (("run", "recipe.toml"), ("used", "song.txt")):
        (here / folder).mkdir()
        (here / folder / name).touch()
    (here / "file").touch()
    before = tree(here)
    result = distill("train", recordings, *words, "--steps", 1)
    assert (result.status, result.out) == (2, "")
    assert result.err == f"Error: {message}"
    assert tree(here) == before


def test_a_recipe_that_nobody_writes_can_be_stopped(distill, recordings, here, monkeypatch):
    """A signal ends the wait for a recipe from a pipe that nobody writes to, and no folder is left."""
    monkeypatch.setattr("distill.training.interruption._SECONDS_FOR_A_STEP", 0.1)
    os.mkfifo(here / "pipe.toml")

    pipes = []

    def stop():
        while not pipes:
            time.sleep(0.02)
            with suppress(OSError):  # it is not waited for yet
                pipes.append(os.open(here / "pipe.toml", os.O_WRONLY | os.O_NONBLOCK))
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop, daemon=True).start()
    result = distill("train", recordings, "--config", "pipe.toml", "--out", "run")
    os.close(*pipes)
    assert (result.status, result.out) == (130, "")
    assert result.err == "Stopped at once. If a run folder was begun, --resume goes on with it.\n"
    assert not (here / "run").exists()


def test_resume_needs_a_run(distill):
    """The command refuses to guess which run to go on with."""
    result = distill("train", "--resume")
    assert result.status == 2
    assert result.err.endswith("Error: --resume needs --out with the run folder to go on with.\n")


def test_options_may_follow_the_corpus(distill, recordings, here, tiny):
    """Options and corpus may stand in any order, and the recipe holds what was asked for."""
    result = distill(
        "train", recordings, "--loss", "stft,recon,kl", *tiny, "--steps", 2, "--seed", 7, "--out", "run"
    )
    assert (result.status, result.err) == (0, "")
    recipe = read_recipe(here / "run")
    assert list(recipe["loss"]) == ["stft", "reconstruction", "kl"]
    assert (recipe["training"]["steps"], recipe["training"]["seed"]) == (2, 7)
    assert recipe["corpus"]["path"] == str(recordings)
    assert recipe["provenance"]["stft"].startswith("distill ")


def test_without_anything_the_demo_corpus_is_trained_on(distill, here, tiny):
    """A bare command trains with the default terms, each time in a new folder below `runs`."""
    for name in ("demo", "demo-2"):
        result = distill("train", *tiny, "--set", "corpus.heldout_fraction=0.25", "--steps", 1)
        assert (result.status, result.err) == (0, "")
        recipe = read_recipe(here / "runs" / name)
        assert list(recipe["loss"]) == list(DEFAULT_LOSS)
        assert "path" not in recipe["corpus"]
    assert "18 recordings, 36 s, to train on" in result.out


def test_a_run_is_named_after_its_corpus(distill, here, tiny):
    """The run folder below `runs` has the name of the corpus, which may be a single recording."""
    soundfile.write("my drum.wav", 0.1 * np.sin(np.arange(4000)), 8000)
    result = distill("train", "my drum.wav", *tiny, "--loss", "recon,kl", "--steps", 1)
    assert (result.status, result.err) == (0, "")
    assert read_recipe(here / "runs" / "my drum")["corpus"]["path"] == str(here / "my drum.wav")
    assert "  distill generate 'runs/my drum' -n 8 --out DIR" in result.out


def test_old_options_are_understood(distill, recordings, here, tiny):
    """An old option gives a warning on stderr, and its value is stored where it belongs now."""
    words = ("--loss", "recon,kl", *tiny, "--steps", 1, "--set", "training.free_bits=0.5")
    result = distill("train", recordings, *words, "--out", "run")
    assert result.status == 0
    assert result.err == (
        "Warning: training.free_bits is deprecated and will be removed in 0.4.0; "
        "it is now loss.kl.free_bits\n"
    )
    recipe = read_recipe(here / "run")
    assert recipe["loss"]["kl"]["free_bits"] == 0.5
    assert "free_bits" not in recipe["training"]


def test_a_config_is_changed_by_what_stands_beside_it(distill, recordings, here, trained):
    """Options change terms, corpus and length of a config; `--steps` replaces the minutes of the recipe."""
    text = (trained.folder / "recipe.toml").read_text().replace("steps = 4", "minutes = 9.0")
    (here / "my.toml").write_text(text)
    words = ("--config", "my.toml", "--set", "loss.kl.free_bits=0.75", "--steps", 1, "--out", "run")
    result = distill("train", recordings, *words)
    assert (result.status, result.err) == (0, "")
    recipe = read_recipe(here / "run")
    assert list(recipe["loss"]) == ["stft", "reconstruction", "kl"]
    assert recipe["loss"]["kl"]["free_bits"] == 0.75
    assert recipe["training"]["steps"] == 1
    assert "minutes" not in recipe["training"]


def test_an_alias_overrides_what_a_config_says_of_its_term(distill, recordings, here, trained):
    """`loss.recon.weight` replaces the weight under [loss.reconstruction] in the file."""
    config = trained.folder / "recipe.toml"
    words = ("--config", config, "--set", "loss.recon.weight=0.75", "--steps", 1, "--out", "run")
    result = distill("train", recordings, *words)
    assert (result.status, result.err) == (0, "")
    recipe = read_recipe(here / "run")
    assert recipe["loss"]["reconstruction"]["weight"] == 0.75
    assert list(recipe["loss"]) == ["stft", "reconstruction", "kl"]


def test_balanced_weights_are_logged(distill, recordings, tiny, tmp_path):
    """`--balance gradient` makes weights shares: what is logged is what the balancer makes of them."""
    words = ("--loss", "stft,recon,kl", "--balance", "gradient", *tiny, "--steps", 2)
    assert distill("train", recordings, *words, "--out", tmp_path / "run").status == 0
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    trained = next(record for record in records if record["split"] == "train")
    heldout = next(record for record in records if record["split"] == "heldout")
    assert heldout["weights"]["reconstruction"] == pytest.approx(0.1)
    assert trained["weights"]["reconstruction"] != pytest.approx(0.1, rel=0.01)
    assert trained["weights"]["kl"] == 0

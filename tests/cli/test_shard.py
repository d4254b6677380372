"""Tests of `distill shard`, and of trainings on what it writes."""

import shutil

import numpy as np
import soundfile


def test_from_recordings_to_a_model(distill, recordings, here, tiny):
    """A folder is written to shards and trained on, and the commands that are suggested fit."""
    shutil.copytree(recordings, here / "sounds")
    (here / "sounds" / "empty.wav").touch()
    words = ("--rate", 8000, "--heldout", 0.16, "--minutes", 0.005)
    result = distill("shard", "sounds", "shards", *words)
    assert (result.status, result.err) == (0, "")
    assert result.out == (
        "skipped: empty.wav: is empty\n"
        "3 shards to train on: 1 s, 30.7 kB\n"
        "2 shards held out: 0.8 s, 20.5 kB\n"
    )
    result = distill("train", "shards", "--loss", "recon,kl", *tiny, "--steps", 2, "--out", "run")
    assert (result.status, result.err) == (0, "")
    assert f"corpus  {here / 'shards'}" in result.out
    assert "3 shards, 1 s, to train on" in result.out
    assert "1 recording, 0.4 s, held out" in result.out
    assert f"  distill evaluate run {here / 'shards'}\n" in result.out
    assert len(list((here / "run" / "audio").iterdir())) == 2
    assert distill("generate", "run", "-n", 1, "--out", "new").status == 0
    assert distill("evaluate", "run", "shards").status == 0
    assert distill("train", "--resume", "--out", "run", "--steps", 3).status == 0


def test_where_nothing_is_held_out_other_recordings_are_to_be_measured(distill, shards, tmp_path, tiny):
    """The shards would be refused, so the words to go on with do not name them."""
    run = tmp_path / "run"
    result = distill("train", shards, "--loss", "recon,kl", *tiny, "--steps", 1, "--out", run)
    assert f"  distill evaluate {run} RECORDINGS\n" in result.out


def test_shards_at_the_rate_of_recipes_by_default(distill, here):
    """Shards have 44.1 kHz and ten minutes each by default, and one in a hundred is held out."""
    (here / "sounds").mkdir()
    soundfile.write("sounds/one.wav", 0.1 * np.sin(np.arange(22050)), 22050)
    soundfile.write("sounds/loud.wav", 4 * np.sin(np.arange(2205)), 22050, "FLOAT")
    result = distill("shard", "sounds", "shards", "--heldout", 0)
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith("note: loud.wav: peaks at +12.0 dB, above full scale\n1 shard to train on")
    manifest = (here / "shards" / "shards.json").read_text()
    assert '"sample_rate": 44100' in manifest
    assert '"samples": 48510' in manifest
    words = " ".join(distill("shard", "--help").out.split())
    assert "--heldout FLOAT RANGE Share of the recordings to hold out. [default: 0.01; 0<=x<1]" in words
    assert "Minutes of audio in a shard, summed over channels. [default: 10.0; 0<x<=1440.0]" in words


def test_a_mistake_is_one_message(distill, shards, here, tiny):
    """A mistake ends with status 2 and no traceback, and leaves no files."""
    rate = ("--set", "representation.sample_rate=16000")
    result = distill("train", shards, "--loss", "recon,kl", *tiny, *rate, "--steps", 2, "--out", "run")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: {shards}: its shards are at 8000 Hz, and representation.sample_rate is 16000\n"
        "Set representation.sample_rate=8000, or write shards at that rate.\n"
    )
    assert list(here.iterdir()) == []
    result = distill("shard", "none", "shards")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        "Error: none: there is no such file or folder\nPass a folder of recordings, or a single recording.\n"
    )


def test_a_url_stays_a_url(distill, here, tiny):
    """A URL is not taken for a path below the current folder."""
    result = distill("train", "s3://bucket/shards", *tiny, "--steps", 2, "--out", "run")
    assert result.status == 2
    assert result.err.startswith("Error: s3://bucket/shards: shards cannot be read by 's3'; ")
    assert list(here.iterdir()) == []

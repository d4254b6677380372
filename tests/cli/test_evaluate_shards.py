"""Tests of `distill evaluate` on shards."""

import json

import numpy as np
import pytest
import soundfile

from distill.audio.corpus import open_corpus, write_shards


@pytest.fixture
def sharded(tmp_path):
    """Write two training shards and three held-out ones of a second each; return the folder."""
    (tmp_path / "sounds").mkdir()
    for number in range(5):
        sound = np.random.default_rng(number).normal(0, 0.1, 8000)
        soundfile.write(tmp_path / "sounds" / f"{number}.wav", sound, 8000)
    write_shards(
        tmp_path / "sounds", tmp_path / "shards", sample_rate=8000, heldout_fraction=0.6, minutes=1 / 60
    )
    return tmp_path / "shards"


def test_of_shards_those_held_out_are_measured(distill, bare, sharded):
    """Every held-out recording of the shards is measured, with the values of the recording itself."""
    words = ("--json",)
    told = json.loads(distill("evaluate", bare, f"{sharded}/", *words).out)
    manifest = json.loads((sharded / "shards.json").read_text())
    heldout = {each["name"]: each["metrics"] for each in told["model"]["recordings"]}
    assert len(heldout) == len(manifest["heldout"]) >= 2
    assert len(manifest["train"]) + len(heldout) == 5
    folder = sharded.parent / "sounds"
    corpus = open_corpus(folder, sample_rate=8000, cache=sharded.parent / "cache", heldout_fraction=0)
    ranks = {each.name: int(each.digest, 16) / 16**32 for each in corpus.train.recordings}
    assert set(heldout) == {name for name, rank in ranks.items() if rank < 0.6}
    whole = json.loads(distill("evaluate", bare, folder, *words).out)
    for each in whole["model"]["recordings"]:
        if each["name"] in heldout:
            one, other = (dict(metrics) for metrics in (heldout[each["name"]], each["metrics"]))
            for missing in ("tones", "visqol", "pesq", "stoi"):
                assert one.pop(missing) is other.pop(missing) is None
            assert one.pop("terms") == other.pop("terms") == {}
            assert one == pytest.approx(other, rel=1e-3)
    assert told["skipped"] == []


def test_shards_of_which_none_is_held_out(distill, trained, shards):
    """Shards without a held-out one are refused with one message and status 2."""
    result = distill("evaluate", trained.folder, shards)
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: {shards}: none of its recordings is held out\n"
        "Use other recordings, or write the shards again with --heldout 0.1.\n"
    )


def test_shards_at_another_sample_rate(distill, trained, tmp_path, recordings):
    """Shards at another sample rate are refused with one message and status 2."""
    write_shards(recordings, tmp_path / "shards", sample_rate=16000, heldout_fraction=0, minutes=1)
    result = distill("evaluate", trained.folder, tmp_path / "shards")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: {tmp_path / 'shards'}: its shards are at 16000 Hz, and the model is at 8000 Hz\n"
        "Use the recordings themselves, or write shards with --rate 8000.\n"
    )


def test_a_url_is_one_of_shards(distill, trained):
    """A URL is taken for shards, and not for a path below the current folder."""
    result = distill("evaluate", trained.folder, "s3://bucket/shards/")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        "Error: s3://bucket/shards: shards cannot be read by 's3'; expected one of http, https, gs, hf\n"
        "Pass such a URL, or mount the storage and pass the folder.\n"
    )

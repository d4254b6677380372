"""Tests of distill.audio.corpus.arrays: recordings in memory are what files with the same samples are."""

import numpy as np
import pytest
import soundfile
import torch

from distill.audio.corpus import open_arrays, open_corpus
from distill.errors import CorpusError, InputError

GIVE = "Pass (name, waveform, sample_rate) for each recording, waveform being floats [N] or [C, N]."


def noise(*shape, seed=0):
    """Draw a waveform."""
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


def test_arrays_are_what_files_are(tmp_path):
    """Arrays give the recordings, digests, split and samples that files give, at another rate, too."""
    arrays = [(f"{number}.wav", noise(2, 3000, seed=number), 16_000) for number in range(5)]
    for name, waveform, rate in arrays:
        soundfile.write(tmp_path / name, waveform.T, rate, "FLOAT")
    words = {"sample_rate": 8000, "heldout_fraction": 0.4}
    files = open_corpus(tmp_path, cache=tmp_path / "cache", **words)
    corpus = open_arrays(reversed(arrays), **words)
    assert corpus.folder == "<arrays>"
    for one, other in ((corpus.train, files.train), (corpus.heldout, files.heldout)):
        assert one.recordings
        for mine, theirs in zip(one.recordings, other.recordings, strict=True):
            assert (mine.name, mine.digest, mine.channels) == (theirs.name, theirs.digest, theirs.channels)
            expected = other.read(theirs)
            assert abs(mine.samples - theirs.samples) <= 1  # a stream may end a sample later
            samples = min(mine.samples, theirs.samples)
            torch.testing.assert_close(one.read(mine)[:, :samples], expected[:, :samples], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "waveform",
    [
        noise(900),
        noise(1, 900),
        torch.from_numpy(noise(900)),
        noise(900).astype(np.float64),
        list(noise(900)),
    ],
)
def test_one_channel_in_any_form(waveform):
    """NumPy, torch and lists, in float64 or float32, with or without a channel axis, read the same."""
    corpus = open_arrays([("a", waveform, 8000)], sample_rate=8000, heldout_fraction=0.0)
    (recording,) = corpus.train.recordings
    assert torch.equal(corpus.train.read(recording), torch.from_numpy(noise(1, 900)))


def test_clips_are_drawn_from_arrays():
    """Clips are drawn from arrays as from files: a clip of a constant recording holds its constant."""
    arrays = [("low", np.full(100, 0.25), 8000), ("high", np.full((2, 100), 0.5), np.int64(8000))]
    corpus = open_arrays(arrays, sample_rate=8000, heldout_fraction=0.0)
    clips = corpus.train.draw(20, 100, torch.Generator().manual_seed(0))
    assert {float(each) for each in clips.amax(dim=1)} == {0.25, 0.5}


def test_what_cannot_be_used_is_skipped():
    """Arrays that cannot be used are skipped with the reasons that files have."""
    arrays = [
        ("good", noise(900), 8000),
        ("silent", np.zeros(900), 8000),
        ("broken", np.full(900, np.inf), 8000),
    ]
    corpus = open_arrays(arrays, sample_rate=8000, heldout_fraction=0.5)
    assert [recording.name for recording in corpus.train.recordings] == ["good"]
    assert [(each.path, each.reason) for each in corpus.skipped] == [
        ("broken", "contains NaN or infinite samples"),
        ("silent", "is silent throughout"),
    ]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([], f"corpus: no array here can be used: none were given\n{GIVE}"),
        (
            [("a", np.zeros(9), 8000)],
            f"corpus: no array here can be used:\n  a: is silent throughout\n{GIVE}",
        ),
    ],
)
def test_a_corpus_of_nothing(arrays, message):
    """The message says why no array can be used, and what to pass."""
    with pytest.raises(CorpusError) as caught:
        open_arrays(arrays, sample_rate=8000, heldout_fraction=0.1)
    assert str(caught.value) == message


FLOATS = "Pass floats [N] or [C, N], 1 being full scale."


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (noise(9), f"corpus: expected a list of arrays, got a ndarray\n{GIVE}"),
        ([noise(9)], f"corpus, array 1: expected (name, waveform, sample_rate), got a ndarray\n{GIVE}"),
        (
            [("a", noise(9), 8000), ("b", noise(9))],
            f"corpus, array 2: expected (name, waveform, sample_rate), got a tuple\n{GIVE}",
        ),
        ([(3, noise(9), 8000)], f"corpus, array 1: expected a name, got 3\n{GIVE}"),
        (
            [("a", noise(9), 8000), ("a", noise(9), 8000)],
            "a: two arrays have this name\nUse a name of its own for each.",
        ),
        (
            [(name, noise(9), 8000) for name in "abab"],
            "a: two arrays have this name\nb: two arrays have this name\nUse a name of its own for each.",
        ),
        (
            [("a", noise(2, 2, 2), 8000)],
            f"a: expected the shape [N] or [C, N], N > 0, got [2, 2, 2]\n{FLOATS}",
        ),
        (
            [("a", noise(900, 2), 8000)],
            (
                "a: expected the shape [C, N], got [900, 2]: more channels than samples\n"
                "Transpose it: waveform.T. soundfile.read, for one, gives [N, C]."
            ),
        ),
        (
            [("a", np.zeros(9, np.int16), 8000)],
            (
                "a: expected floats, 1 being full scale, got int16\n"
                "Divide integers by their full scale: waveform / 32768 for 16 bits."
            ),
        ),
        (
            [("a", torch.zeros(2, 9).to_sparse(), 8000)],
            (
                "a: expected an array, got a Tensor: can't convert Sparse layout tensor to numpy. Use "
                f"Tensor.to_dense() first.\n{FLOATS}"
            ),
        ),
        (
            [("a", torch.zeros(9, device="meta"), 8000)],
            f"a: expected an array, got a Tensor: Cannot copy out of meta tensor; no data!\n{FLOATS}",
        ),
        ([("a", None, 8000)], f"a: expected floats, 1 being full scale, got a NoneType of object\n{FLOATS}"),
        (
            [("a", noise(9), float("inf"))],
            (
                "a: expected a sample rate in Hz, 1000 to 100000000, got inf\n"
                "Pass it as an integer, 44100 for example."
            ),
        ),
        (
            [("a", noise(9), "8000")],
            (
                "a: expected a sample rate in Hz, 1000 to 100000000, got '8000'\n"
                "Pass it as an integer, 44100 for example."
            ),
        ),
    ],
)
def test_what_are_no_arrays(arrays, message):
    """The message names the array, what is wrong with it and the remedy."""
    with pytest.raises(InputError) as caught:
        open_arrays(arrays, sample_rate=8000, heldout_fraction=0.1)
    assert str(caught.value) == message


@pytest.mark.filterwarnings("error")
def test_samples_that_float32_cannot_hold_are_infinite():
    """An array with samples too large for float32 is skipped as infinite, without a NumPy warning."""
    arrays = [("a", noise(900), 8000), ("b", np.full(900, 1e300), 8000)]
    corpus = open_arrays(arrays, sample_rate=8000, heldout_fraction=0.0)
    assert [(skip.path, skip.reason) for skip in corpus.skipped] == [
        ("b", "contains NaN or infinite samples")
    ]


def test_the_value_of_full_scale():
    """Arrays in the range of integers are skipped, with an offer to scale them, and used when it is taken."""
    arrays = [("a", 32768 * noise(900), 8000)]
    with pytest.raises(
        CorpusError, match=r"16-bit integers \(to divide them for training: corpus\.full_scale=32768"
    ):
        open_arrays(arrays, sample_rate=8000, heldout_fraction=0.0)
    corpus = open_arrays(arrays, sample_rate=8000, heldout_fraction=0.0, full_scale=32768)
    assert torch.equal(corpus.train.read(corpus.train.recordings[0]), torch.from_numpy(noise(1, 900)))

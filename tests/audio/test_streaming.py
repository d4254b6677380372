"""Audio files of any length: read, resampled and written block by block."""

import os
import tracemalloc

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill.audio import streaming
from distill.audio.corpus import open_corpus
from distill.audio.soundfiles import Written, read_audio, resample, write_audio
from distill.audio.streaming import open_audio, resampled, write_blocks
from distill.errors import CorpusError, RunError, TrainingError

NOISE = torch.rand(2, 50_000, generator=torch.Generator().manual_seed(0)) - 0.5


@pytest.mark.parametrize("peak", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_blocks_are_written_as_the_whole_is(tmp_path, peak, channels):
    """The file holds the samples that `write_audio` writes for the whole waveform, at any peak."""
    waveform = NOISE[:1].expand(channels, -1) * peak / NOISE[0].abs().max()
    written = write_blocks(tmp_path / "a.wav", waveform.split(7919, 1), 44_100, channels)
    write_audio(tmp_path / "b.wav", waveform, 44_100)
    assert written == Written(path=tmp_path / "a.wav", peak=pytest.approx(peak))
    one, other = (soundfile.SoundFile(tmp_path / name) for name in ("a.wav", "b.wav"))
    assert (one.subtype, one.frames, one.channels) == (other.subtype, other.frames, other.channels)
    np.testing.assert_array_equal(one.read(dtype="int32"), other.read(dtype="int32"))
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a.wav", tmp_path / "b.wav"]


@pytest.mark.parametrize(("odd", "integers"), [(1, True), (0, True), (1, False)])
def test_files_above_4_gb(monkeypatch, tmp_path, odd, integers):
    """Files above the limit of WAV (lowered here) are written as RF64, which counts with 64 bits."""
    monkeypatch.setattr(streaming, "_LARGEST", 1000)
    waveform = NOISE[:1, : 1000 + odd] * (1 if integers else 9)
    write_blocks(tmp_path / "a.wav", [waveform], 8000, 1)
    assert soundfile.info(tmp_path / "a.wav").format == "RF64"
    read, _ = read_audio(tmp_path / "a.wav")
    torch.testing.assert_close(read, waveform, atol=2**-23, rtol=0)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(1, 3000),
    st.integers(1, 4000),
    st.sampled_from([(8000, 44_100), (48_000, 44_100), (44_100, 44_100), (44_100, 8000)]),
)
def test_resampling_in_blocks(samples, block, rates):
    """The result does not depend on the blocks, and has the length that is asked for."""
    waveform = NOISE[:, :samples]
    for length in (-(-samples * rates[1] // rates[0]), samples):
        made = torch.cat([*resampled(waveform.split(block, 1), *rates, length)], dim=1)
        assert torch.equal(made, resample(waveform, *rates, length))


def test_what_fails_leaves_the_old_file(tmp_path, monkeypatch):
    """Neither a sound that is not finite nor a full disk leaves anything but what was there."""
    path = tmp_path / "a.wav"
    write_blocks(path, [NOISE], 8000, 2)
    before = path.read_bytes()
    bad = torch.full((2, 9), torch.nan)
    with pytest.raises(TrainingError, match="the sound is not finite, and was not written"):
        write_blocks(path, [NOISE, bad], 8000, 2)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError) as error:
        write_blocks(path, [NOISE[:, :9]], 8000, 2)
    assert str(error.value) == f"{path}: cannot be written: No space left on device\nMake room on that disk."
    assert (path.read_bytes(), [*tmp_path.iterdir()]) == (before, [path])


def test_a_file_is_checked_before_it_is_read(tmp_path):
    """A file that is cut short is refused at once, and one that is whole says what it holds."""
    soundfile.write(tmp_path / "a.wav", NOISE.T.numpy(), 8000, "FLOAT")
    file = open_audio(tmp_path / "a.wav")
    assert (file.sample_rate, file.channels, file.samples) == (8000, 2, 50_000)
    assert torch.equal(torch.cat([*file.blocks()], dim=1), NOISE)
    (tmp_path / "a.wav").write_bytes((tmp_path / "a.wav").read_bytes()[:-9])
    with pytest.raises(CorpusError) as error:
        open_audio(tmp_path / "a.wav")
    assert str(error.value) == (
        f"{tmp_path / 'a.wav'}: is cut short: 399,991 of the 400,000 bytes of its samples are there\n"
        "Export it again, as WAV, AIFF, FLAC, Ogg or MP3."
    )


@pytest.mark.parametrize("read", [open_audio, read_audio])
def test_what_is_no_file_is_not_waited_for(tmp_path, read):
    """A pipe that nobody writes to is named as what it is, as a folder and a path to nothing are."""
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "link.wav").symlink_to("nowhere")
    for name, problem in (
        ("pipe.wav", "is not an ordinary file"),
        ("folder.wav", "is a folder"),
        ("link.wav", "there is no such file"),
        ("none.wav", "there is no such file"),
    ):
        with pytest.raises(CorpusError) as caught:
            read(tmp_path / name)
        assert str(caught.value) == f"{tmp_path / name}: {problem}\nCheck the path."


def test_memory_does_not_grow_with_the_length(tmp_path):
    """20 MB of floats pass through within 4 MB."""
    tracemalloc.start()
    write_blocks(tmp_path / "a.wav", (NOISE for _ in range(50)), 8000, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4e6
    assert soundfile.info(tmp_path / "a.wav").frames == 50 * 50_000


def test_a_file_of_integers_is_that_of_libsndfile(tmp_path):
    """A file of integers written in blocks equals that of libsndfile byte for byte."""
    write_blocks(tmp_path / "a.wav", [NOISE[:1, :6]], 8000, 1)
    write_audio(tmp_path / "b.wav", NOISE[:1, :6], 8000)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.parametrize("level", [0.5, 2.0])
@pytest.mark.parametrize("in_blocks", [True, False])
def test_what_distill_makes_is_no_recording(tmp_path, level, in_blocks):
    """Sounds that Distill made can be read, but do not become part of a corpus beside them."""
    recording, made = tmp_path / "recording.wav", tmp_path / "made.wav"
    sound = level * torch.linspace(-1, 1, 999).sin()[None]
    if in_blocks:
        write_blocks(made, iter([sound]), 8000, 1)
    else:
        write_audio(made, sound, 8000)
    soundfile.write(recording, sound[0].numpy(), 8000, "FLOAT")
    corpus = open_corpus(tmp_path, sample_rate=8000, cache=tmp_path / ".cache", heldout_fraction=0)
    assert [each.name for each in corpus.train.recordings] == ["recording.wav"]
    reasons = {each.path: each.reason for each in corpus.skipped}
    assert reasons["made.wav"] == "was made by Distill, and is no recording"
    assert torch.allclose(read_audio(made)[0], sound, atol=1e-6)

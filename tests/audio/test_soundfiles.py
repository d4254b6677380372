"""Audio files: read whole, resampled to an exact length, and written without clipping."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill.audio.soundfiles import Written, read_audio, resample, write_audio
from distill.errors import CorpusError, InputError, RunError, TrainingError


def sine(frequency, sample_rate, samples, phase=0.0):
    """Sample a sine of amplitude 0.5 whose phase at time 0 is `phase`: `[1, samples]`, float32."""
    time = np.arange(samples) / sample_rate
    return torch.from_numpy(0.5 * np.sin(2 * np.pi * frequency * time + phase)).float()[None]


def test_audio_within_full_scale_is_written_as_24_bit_pcm(tmp_path):
    """A written file has the channels, rate and samples it was given, within one step of 24 bits."""
    waveform = torch.cat([sine(440, 48_000, 1000) * 2, sine(110, 48_000, 1000)])
    waveform[0, 0] = -1.0
    path = tmp_path / "new" / "a.wav"
    written = write_audio(path, waveform, 48_000)
    assert written == Written(path=path, peak=1.0)
    assert not written.exceeds_full_scale
    info = soundfile.info(path)
    assert (info.format, info.subtype, info.channels, info.samplerate) == ("WAV", "PCM_24", 2, 48_000)
    read, sample_rate = read_audio(path)
    assert sample_rate == 48_000
    assert read.shape == (2, 1000)
    assert (read - waveform).abs().max() <= 2**-23 * 1.01


def test_a_peak_above_full_scale_is_kept_and_said(tmp_path):
    """What PCM would clip is written as 32-bit float, exactly, and the caller can tell."""
    waveform = sine(440, 44_100, 500) * 3
    written = write_audio(tmp_path / "a.wav", waveform, 44_100)
    assert written.exceeds_full_scale
    assert written.peak == waveform.abs().max()
    assert soundfile.info(tmp_path / "a.wav").subtype == "FLOAT"
    assert torch.equal(read_audio(tmp_path / "a.wav")[0], waveform)


@pytest.mark.parametrize(("peak", "attenuation"), [(2.0, 6.0206), (98.0, 39.8245), (1.0000001, 0.0)])
def test_a_limited_sound_is_turned_down_as_a_whole(tmp_path, peak, attenuation):
    """One gain for every sample of every channel brings the peak to 1; it is said in dB (20 lg 2 = 6.02)."""
    waveform = torch.cat([sine(440, 44_100, 500), sine(110, 44_100, 500)])
    waveform[0, 7] = -1.0
    written = write_audio(tmp_path / "a.wav", waveform * peak, 44_100, limit=True)
    assert written.attenuation == pytest.approx(attenuation, abs=1e-4)
    assert (written.peak, written.exceeds_full_scale) == (1.0, False)
    assert soundfile.info(tmp_path / "a.wav").subtype == "PCM_24"
    read, _ = read_audio(tmp_path / "a.wav")
    assert read.abs().max() == 1
    assert (read - waveform).abs().max() <= 2**-23 * 1.01


@pytest.mark.parametrize("level", [0.0, 0.25, 1.0])
def test_a_limited_sound_within_full_scale_is_as_it_was(tmp_path, level):
    """A limited sound within full scale is not turned up or down, and silence stays silence."""
    waveform = sine(440, 44_100, 500) * 2 * level
    written = write_audio(tmp_path / "a.wav", waveform, 44_100, limit=True)
    write_audio(tmp_path / "b.wav", waveform, 44_100)
    assert written == Written(path=tmp_path / "a.wav", peak=float(waveform.abs().max()), attenuation=0.0)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_a_limited_sound_must_be_finite(tmp_path):
    """Infinity is refused, not turned down to nothing."""
    with pytest.raises(TrainingError):
        write_audio(tmp_path / "a.wav", torch.tensor([[0.5, float("inf")]]), 8000, limit=True)
    assert list(tmp_path.iterdir()) == []


def test_the_extension_does_not_decide_the_format(tmp_path):
    """A path of any name gets a WAV file, so that nothing lossy happens by accident."""
    write_audio(tmp_path / "a.ogg", sine(440, 8000, 100), 8000)
    assert soundfile.info(tmp_path / "a.ogg").format == "WAV"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_sound_that_is_not_finite_is_not_written(value, tmp_path):
    """NaN and infinity are refused, and no file is left."""
    path = tmp_path / "a.wav"
    with pytest.raises(TrainingError) as caught:
        write_audio(path, torch.tensor([[0.0, value]]), 8000)
    assert str(caught.value) == (
        f"{path}: the sound is not finite, and was not written\n"
        "Look at the recording that it was made from. If others give no sound either, the model has "
        "diverged: train again with a lower learning rate."
    )
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    """Writing is atomic: a failing disk leaves what was there, whole, and one clear error."""
    path = tmp_path / "a.wav"
    write_audio(path, sine(440, 8000, 100), 8000)
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match=r"a\.wav: cannot be written: No space left on device"):
        write_audio(path, sine(220, 8000, 100), 8000)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("suffix", "subtype"), [("flac", "PCM_16"), ("aiff", "PCM_24"), ("ogg", "VORBIS")])
def test_other_formats_are_read(suffix, subtype, tmp_path):
    """Whatever libsndfile reads comes as `[C, N]` float32 at its own rate."""
    samples = np.stack([sine(440, 22_050, 2000)[0], sine(880, 22_050, 2000)[0]], axis=1)
    soundfile.write(tmp_path / f"a.{suffix}", samples, 22_050, subtype)
    waveform, sample_rate = read_audio(tmp_path / f"a.{suffix}")
    assert (waveform.shape, waveform.dtype, sample_rate) == ((2, 2000), torch.float32, 22_050)
    assert waveform.is_contiguous()
    assert np.corrcoef(waveform.T.numpy()[:, 0], samples[:, 0])[0, 1] > 0.99


def contents(samples):
    """Return the bytes of a float WAV file."""
    file = io.BytesIO()
    soundfile.write(file, np.asarray(samples, np.float32), 8000, "FLOAT", format="WAV")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "problem"),
    [
        ("a.wav", b"", "is empty"),
        ("a.wav", b"text", "is not audio that libsndfile reads"),
        ("a.au", b"text", "is not audio that libsndfile reads"),
        ("a.raw", b"1234", "is not audio that libsndfile reads"),
        ("a.wav", contents([]), "holds no samples"),
        ("a.wav", contents([0.5, np.nan]), "contains NaN or infinite samples"),
    ],
    ids=["empty", "text", "text as AU", "text as raw", "no samples", "NaN"],  # the bytes hold the time
)
def test_a_file_that_cannot_be_used_is_named(name, data, problem, tmp_path):
    """Foreign, headerless, empty and non-finite files each give one clear error."""
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(CorpusError) as caught:
        read_audio(path)
    assert str(caught.value) == f"{path}: {problem}\nExport it again, as WAV, AIFF, FLAC, Ogg or MP3."


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    """A new export would not help, and is not advised."""
    path = tmp_path / "a.wav"
    path.write_bytes(contents([0.5]))

    def refuse(path, *_, **__):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(CorpusError) as caught:
        read_audio(path)
    assert str(caught.value) == (
        f"{path}: cannot be read: Permission denied\n"
        "Make sure that you may read it, and that its disk is there."
    )


def test_a_file_that_is_not_there(tmp_path):
    """The message names the file that does not exist and the remedy."""
    with pytest.raises(CorpusError) as caught:
        read_audio(tmp_path / "gone.wav")
    assert str(caught.value) == f"{tmp_path / 'gone.wav'}: there is no such file\nCheck the path."


@pytest.mark.parametrize(("from_rate", "to_rate"), [(44_100, 48_000), (48_000, 44_100), (22_050, 44_100)])
def test_a_resampled_sine_is_the_sine_sampled_at_the_other_rate(from_rate, to_rate):
    """Resampling keeps pitch, level and time: away from the ends it equals the formula of the sine."""
    waveform = torch.cat([sine(1000, from_rate, from_rate // 4), sine(300, from_rate, from_rate // 4, 1.0)])
    resampled = resample(waveform, from_rate, to_rate)
    samples = -(-(from_rate // 4) * to_rate // from_rate)
    expected = torch.cat([sine(1000, to_rate, samples), sine(300, to_rate, samples, 1.0)])
    assert resampled.shape == expected.shape
    assert (resampled - expected)[:, 500:-500].abs().max() < 1e-5


@given(
    samples=st.integers(1, 3000),
    rates=st.tuples(*[st.sampled_from([8000, 11_025, 22_050, 44_100, 48_000, 96_000])] * 2),
    channels=st.integers(1, 3),
)
def test_there_and_back_keeps_the_length(samples, rates, channels):
    """Any length comes back from any other rate; on the way it lasts as long, rounded up."""
    waveform = torch.ones(channels, samples)
    there = resample(waveform, *rates)
    assert there.shape == (channels, -(-samples * rates[1] // rates[0]))
    back = resample(there, *reversed(rates), length=samples)
    assert back.shape == waveform.shape
    assert back.dtype == torch.float32


def test_the_same_rate_changes_nothing():
    """Between equal rates the samples stay exactly what they are; a longer length is filled with silence."""
    waveform = sine(440, 8000, 50)
    assert torch.equal(resample(waveform, 8000, 8000), waveform)
    assert torch.equal(
        resample(waveform, 8000, 8000, length=60), torch.cat([waveform, torch.zeros(1, 10)], dim=1)
    )


def test_flac_is_written_by_its_suffix(tmp_path):
    """FLAC has the 24 bits and the comment that WAV has, and a peak above full scale is refused."""
    waveform = sine(440, 8000, 1000)
    for name in ("a.flac", "a.wav"):
        write_audio(tmp_path / name, waveform, 8000, made_with={"seed": 3})
    one, other = (soundfile.SoundFile(tmp_path / name) for name in ("a.flac", "a.wav"))
    assert (one.format, one.subtype, other.format) == ("FLAC", "PCM_24", "WAV")
    assert one.comment == other.comment == 'Made by Distill: {"seed": 3}'
    assert np.abs(one.read() - other.read()).max() <= 2**-23
    with pytest.raises(InputError) as caught:
        write_audio(tmp_path / "b.flac", torch.full((1, 9), 1.5), 8000)
    assert str(caught.value) == (
        f"{tmp_path / 'b.flac'}: has a peak of 1.50, and FLAC cannot hold more than full scale\n"
        "Write WAV, or limit the level."
    )


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_a_file_whose_name_is_not_text_is_read(kind, tmp_path):
    """A file of any format has the same samples under a name that is not valid text."""
    plain = tmp_path / f"a.{kind}"
    soundfile.write(plain, sine(440, 44_100, 4000)[0].numpy(), 44_100)
    odd = Path(os.fsdecode(bytes(tmp_path) + b"/odd\xff." + kind.encode()))
    expected, rate = read_audio(plain)
    plain.rename(odd)
    read, sample_rate = read_audio(odd)
    assert sample_rate == rate
    assert torch.equal(read, expected)

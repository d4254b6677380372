"""Tests of the sounds that the page asks for."""

import numpy as np
import pytest
import soundfile
import torch

from distill.errors import CorpusError, InputError
from distill.playing.sound import Between, Near, Random, Recording, Sound
from distill.reporting.latents import positions_of

NAMES = ("a.wav", "b.wav")


def test_a_seed_makes_the_sound_that_the_model_makes(instrument):
    """A seed and its shifts make the sound that `generate` makes."""
    sound = Sound(source=Random(seed=3), seconds=0.3)
    assert torch.equal(instrument.waveform(sound), instrument.model.generate(1, seed=3, seconds=0.3)[0])
    axis = instrument.axes[0]
    moved = sound.along(axis.name, axis.highest)
    (expected,) = instrument.model.generate(1, seed=3, seconds=0.3, axes={axis.name: axis.highest})
    assert torch.equal(instrument.waveform(moved), expected)


def test_a_sound_that_is_known_is_turned_up(instrument):
    """+6 dB is a factor of 1.995, beside another shift too, and the result is that of `generate`."""
    shifts = {"loudness": 6.0, instrument.axes[0].name: instrument.axes[0].highest / 2}
    sound = Sound(source=Random(seed=4), seconds=0.3, axes=tuple(shifts.items()))
    quieter = instrument.waveform(sound.along("loudness", 0))
    torch.testing.assert_close(instrument.waveform(sound), 10**0.3 * quieter)
    (expected,) = instrument.model.generate(1, seed=4, seconds=0.3, axes=shifts)
    assert torch.equal(instrument.waveform(sound), expected)


def test_a_recording_sounds_as_the_model_makes_it(instrument):
    """A recording and the ends of a morph sound as the model makes them; between them the sound differs."""
    one, other = (Recording(name=name) for name in instrument.names[:2])
    made = instrument.waveform(Sound(source=one))
    assert torch.allclose(made, instrument.model.decode(instrument.model.latents[one.name]), atol=1e-6)
    ends = [
        instrument.waveform(Sound(source=Between(first=one, second=other, position=position)))
        for position in (0.0, 0.5, 1.0)
    ]
    assert torch.equal(ends[0], made)
    middle = instrument.model.between(one.name, other.name, steps=3)[1]
    assert torch.allclose(ends[1], middle, atol=1e-5)


def test_a_variation_by_nothing_is_the_sound_itself(instrument):
    """A variation by 0 equals its sound, and a seed always makes the same variation."""
    origin = Recording(name=instrument.names[0])
    made = [
        instrument.waveform(Sound(source=Near(origin=origin, amount=amount, seed=1))) for amount in (0.0, 0.5)
    ]
    assert torch.allclose(made[0], instrument.waveform(Sound(source=origin)), atol=1e-5)
    assert torch.allclose(made[1], instrument.model.near(origin.name, 0.5, seed=1)[0], atol=1e-5)


def test_a_length_can_be_set(instrument):
    """Any sound gets the requested number of samples."""
    for source in (Random(seed=1), Recording(name=instrument.names[0])):
        sound = Sound(source=source, seconds=0.7)
        assert instrument.waveform(sound).shape[-1] == 5600
        assert instrument.seconds(sound) == 0.7


def test_a_file_of_ones_own(instrument, tmp_path):
    """A file of any sample rate becomes a recording of the session, named by its digest."""
    time = np.arange(2400) / 16000
    soundfile.write(tmp_path / "x.aiff", np.sin(2000 * time), 16000)
    own = instrument.add(tmp_path / "x.aiff", "mine.aiff")
    assert own == instrument.add(tmp_path / "x.aiff", "mine.aiff")
    assert (own.name, len(own.own)) == ("mine.aiff", 32)
    soundfile.write(tmp_path / "lower.aiff", np.sin(2000 * time), 8000)
    assert instrument.add(tmp_path / "lower.aiff", "mine.aiff").own != own.own  # of the same samples
    assert instrument.waveform(Sound(source=own)).abs().max() > 0.01


def test_a_file_that_cannot_be_used(instrument, tmp_path):
    """A file that is no audio, silent or too long is refused with the whole message."""
    (tmp_path / "text.wav").write_text("text")
    with pytest.raises(CorpusError) as caught:
        instrument.add(tmp_path / "text.wav", "text.wav")
    assert str(caught.value) == (
        f"{tmp_path / 'text.wav'}: is not audio that libsndfile reads\n"
        "Export it again, as WAV, AIFF, FLAC, Ogg or MP3."
    )
    soundfile.write(tmp_path / "silent.wav", np.zeros(800), 8000)
    soundfile.write(tmp_path / "long.wav", np.ones(61 * 1000) / 2, 1000)
    messages = []
    for name in ("silent.wav", "long.wav"):
        with pytest.raises(InputError) as caught:
            instrument.add(tmp_path / name, name)
        messages.append(str(caught.value))
    assert messages == [
        "silent.wav: is silent",
        "long.wav: lasts 61 s, and 60 s at most are read\nCut the part that you want to hear.",
    ]


def test_a_recording_that_is_not_there(instrument):
    """A recording that is not there is refused with the whole message."""
    messages = []
    for recording in (Recording(name="<b>"), Recording(name="x.wav", own="0")):
        with pytest.raises(InputError) as caught:
            instrument.waveform(Sound(source=recording))
        messages.append(str(caught.value))
    assert messages == [
        "<b>: is not among the recordings of the run",
        "x.wav: is not among the files of yours any more: drop it again",
    ]


def test_the_map_is_that_of_the_report(instrument):
    """The map has every recording."""
    assert [place.name for place in instrument.places] == [*instrument.model.latents]
    positions, _ = positions_of([*instrument.model.latents.values()])
    assert np.allclose([(place.x, place.y) for place in instrument.places], positions)

"""Tests of distill.controls.generating: what `Model` makes with controls."""

import json
import math

import pytest
import soundfile
import torch
from attrs import evolve

import distill
from distill.audio.corpus.scanning import AUDIO_SUFFIXES
from distill.controls.descriptors import loudness
from distill.controls.morphing import interpolated, varied
from distill.errors import InputError, OutputError, RunError
from distill.model.sounds import bank_statistics, code_of, encode, quietest

RATE = 8000


@pytest.fixture(scope="module")
def model(measured):
    """Load the run whose axes are measured."""
    return distill.load(measured)


def sound(channels=1, samples=2400, seed=0):
    """Make noise `[C, N]`."""
    return 0.1 * torch.randn(channels, samples, generator=torch.Generator().manual_seed(seed))


def test_sounds_are_moved_relative_to_the_same_sounds(model):
    """A sound is moved by a gain of 6 dB and kept by a position of 0, whatever the count of sounds."""
    plain = model.generate(2, seed=3)
    louder = model.generate(2, seed=3, axes={"loudness": 6.0})
    for one, other in zip(plain, louder, strict=True):
        assert loudness(other, RATE) - loudness(one, RATE) == pytest.approx(6.0, abs=1e-3)
    assert torch.equal(model.generate(1, seed=3, axes={"axis 1": 0})[0], plain[0])
    (moved,) = model.generate(1, seed=3, axes={"axis 1": 2.0})
    assert moved.shape == plain[0].shape
    assert not torch.equal(moved, plain[0])
    assert torch.equal(model.generate(1, seed=3, axes={"axis 1": 2.0})[0], moved)


def test_the_ends_of_a_morph_are_the_reconstructions(model):
    """The lengths go from one to the other, at the model's rate; the seed draws the noise in between."""
    one, other = sound(1, 1600), sound(2, 4800, seed=1)
    made = model.between(one, other, 3, sample_rate=2 * RATE)
    assert [tuple(each.shape) for each in made] == [(1, 800), (2, 1600), (2, 2400)]
    again = model.between(one, other, 3, sample_rate=2 * RATE, seed=1)
    assert torch.equal(made[0], again[0])
    assert not torch.equal(made[1], again[1])
    name = next(iter(model.latents))
    first = model.between(name, sound(1, 2400), 2)
    assert torch.equal(first[0], model.decode(model.latents[name]))
    assert torch.equal(first[1], model.reconstruct(sound(1, 2400)))


def test_levels_are_between_those_of_the_ends(model):
    """The loudness halfway between a loud and a quiet sound is halfway in dB, within 3 dB."""
    loud, _, quiet = (loudness(each, RATE) for each in model.between(sound(), 0.05 * sound(), 3))
    middle = loudness(model.between(sound(), 0.05 * sound(), 3)[1], RATE)
    assert middle == pytest.approx((loud + quiet) / 2, abs=3)


def test_silence_in_one_sound_does_not_silence_the_other(model):
    """Levels halfway to silence are the mean in dB, with silence 60 dB below the loudest frame."""
    vae, representation = model.vae, model.representation
    steady, ending = sound(), torch.cat([sound(samples=1200), torch.zeros(1, 1200)], dim=1)
    ends = [(encode(vae, representation, each), 2400) for each in (steady, ending)]
    middle, samples = interpolated(vae, representation, *ends, 0.5)
    assert samples == 2400
    last = vae.code.total(code_of(vae, representation, middle)[0, 0, -1])
    loud = [vae.code.total(code_of(vae, representation, each)[0, 0]) for each, _ in ends]
    assert float(last) == pytest.approx(float(loud[0][-1] + loud[1].amax() - 6.9) / 2, abs=0.01)


def test_a_variation_is_as_far_as_asked(model):
    """A variation at 0 is the reconstruction, and differs more the farther it is."""
    start = sound()
    (none,) = model.near(start, 0.0)
    assert torch.equal(none, model.reconstruct(start))
    little, much = (model.near(start, amount, seed=5)[0] for amount in (0.2, 1.0))
    latents = [model.encode(each) for each in (none, little, much)]
    near, far = (float((each - latents[0]).square().mean()) for each in latents[1:])
    assert 0 < near < far
    assert torch.equal(model.near(start, 0.2, 2, seed=5)[0], little)


def test_the_contrast_comes_with_the_new_sound(model):
    """Halfway to a sound with more contrast, half of it is there."""
    vae, representation = model.vae, model.representation
    plain = encode(vae, representation, sound())
    for ends, expected in (((1.0, 1.5), 1.25), ((1.0, 1.0), 1.0)):
        pair = [(evolve(plain, contrast=contrast), 2400) for contrast in ends]
        assert interpolated(vae, representation, *pair, 0.5)[0].contrast == pytest.approx(expected)
    drawn = varied(
        vae, representation, (plain, 2400), [plain], bank_statistics(vae, representation, [plain]), 1.0,
        torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert drawn.contrast > 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda model: model.between(sound(), sound(), 1),
            "steps: expected a whole number within 2..1000, got 1",
        ),
        (
            lambda model: model.near(sound(), float("nan")),
            (
                "amount: expected a number within 0..1, got nan\n"
                "0 leaves the sound as it is, and 1 is as varied as new sounds."
            ),
        ),
        (
            lambda model: model.near(sound(3)),
            "sound: expected one or two channels, got 3\nMix them down to two, or take two of them.",
        ),
        (
            lambda model: model.near(torch.zeros(61 * model.sample_rate)),
            "sound: expected at most 60 s, got 61.0 s\nCut it.",
        ),
        (
            lambda model: model.between("nothing", sound()),
            "a: there is no training recording 'nothing'\nPass a waveform, or one of: {names}.",
        ),
        (
            lambda model: model.between(sound(), sound(), seed=-1),
            f"seed: expected a whole number within 0..{2**63 - 1}, got -1",
        ),
    ],
)
def test_what_cannot_be_made(model, call, message):
    """A sound that cannot be made is refused with the whole message."""
    with pytest.raises(InputError) as caught:
        call(model)
    assert str(caught.value) == message.format(names=", ".join(model.latents))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x",), "sound: expected floats, 1 being full scale, got a str of <U1\nPass floats [N] or [C, N]"),
        ((torch.ones(1, 9, dtype=torch.int16),), "sound: expected floats, 1 being full scale, got int16\n"),
        ((sound(), {"a": object}), "controls: expected plain data by name, got {'a': <class 'object'>}: "),
        (
            (sound(), {"a": float("nan")}),
            "controls: expected plain data by name, got {'a': nan}: Out of range",
        ),
        ((sound(), ["seed"]), "controls: expected plain data by name, got ['seed']\nPass a dict of numbers"),
    ],
)
def test_what_cannot_be_written(model, arguments, message, tmp_path):
    """What is no sound, or no controls, is refused, and nothing is written."""
    made, *controls = arguments
    with pytest.raises(InputError) as caught:
        model.write(made, tmp_path / "a.wav", controls=controls[0] if controls else None)
    assert str(caught.value).startswith(message)
    assert not [*tmp_path.iterdir()]


def test_the_base_model_has_no_axes():
    """The base model has no axes but can still morph waveforms."""
    base = distill.load("base")
    with pytest.raises(RunError, match="holds no latents to make sounds of"):
        _ = base.axes
    assert len(base.between(sound(), sound(seed=1), 2)) == 2


def test_a_written_sound_says_what_it_was_made_with(model, tmp_path):
    """A written sound has a JSON comment on how it was made; existing files are not overwritten."""
    path = tmp_path / "a.flac"
    written = model.write(2 * torch.ones(2, 100), path, controls={"seed": 3, "axes": {"loudness": 1.0}})
    assert (written.path, written.peak) == (path, 1.0)
    with soundfile.SoundFile(path) as file:
        made, _, text = file.comment.partition(": ")
    assert (made, json.loads(text)) == (
        "Made by Distill",
        {"run": "run", "checksum": model.checksum, "seed": 3, "axes": {"loudness": 1.0}},
    )
    with pytest.raises(OutputError) as caught:
        model.write(torch.ones(1, 9), path)
    assert str(caught.value) == (
        f"{path}: exists already\nAdd --overwrite to replace what is there, or choose another path."
    )


def test_no_file_has_the_name_of_another_format(model, tmp_path):
    """A name that a corpus takes for another format is refused, instead of given to a WAV file."""
    others = (AUDIO_SUFFIXES | {".raw"}) - {".wav", ".wave", ".bwf", ".flac"}
    assert {".mp3", ".ogg", ".oga", ".aifc", ".mp2", ".mp4", ".m4a"} < others
    for suffix in sorted(others):
        path = tmp_path / f"a{suffix.upper()}"
        with pytest.raises(InputError) as caught:
            model.write(torch.ones(1, 9), path)
        assert str(caught.value) == (
            f"{path}: sounds are written as WAV or FLAC, not as {suffix[1:].upper()}\n"
            "Use a name that ends in .wav or .flac."
        )
    assert not list(tmp_path.iterdir())
    for name, written in (("take.2", "WAV"), ("a.Wave", "WAV"), ("a.bwf", "WAV"), ("a.FLAC", "FLAC")):
        model.write(torch.ones(1, 9), tmp_path / name)
        assert soundfile.info(tmp_path / name).format == written


def test_a_written_sound_is_as_loud_as_recordings_are(model, tmp_path):
    """A sound with a click is not turned down below the recordings: the click is. Others are, as a whole."""
    sine = torch.sin(torch.arange(8000) * 0.3)[None]
    low = quietest(model.vae, bank_statistics(model.vae, model.representation, [*model.latents.values()]))
    sine *= 10 ** ((low + 1) / 20) / sine.square().mean().sqrt()
    sine[0, 4000] = 2.0
    written = model.write(sine, tmp_path / "a.wav")
    read, _ = soundfile.read(tmp_path / "a.wav")
    assert 20 * math.log10((read**2).mean() ** 0.5) == pytest.approx(low, abs=0.05)
    assert written.attenuation + written.reduction == pytest.approx(20 * math.log10(2), abs=1e-4)
    assert written.reduction > 3
    whole = model.write(2 * torch.sin(torch.arange(8000) * 0.3)[None], tmp_path / "b.wav")
    assert whole.reduction == 0

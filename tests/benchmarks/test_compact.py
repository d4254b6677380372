"""Tests of benchmarks/compact.py and of the compact code in the package."""

import math
import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from compact import RATE, Codes, Training, mean_of, windows
from synthetic import make_sound

import distill.base
from distill.base import base_checksum, load_base, load_codes, load_compact
from distill.config.settings import ModelSettings
from distill.model import VAE
from distill.model.initialization import importance_of
from distill.model.spread import audible_error
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import load_state, save_state

REPRESENTATION = MagnitudeIF(RATE)
PACKAGED = Path(distill.base.__file__).with_name("compact.safetensors")


@pytest.fixture
def vae():
    """Return the base model with a compact code that is not initialized."""
    made = VAE(ModelSettings(code="compact"), REPRESENTATION).eval().requires_grad_(False)
    made.load_state_dict(load_base().weights, strict=False)
    return made


def codes(vae, count):
    """Return windows of the codes of sounds that no model has heard."""
    sounds = (make_sound(seed, RATE)[:RATE] for seed in range(9_000_000, 9_000_000 + count))
    return torch.cat([windows(vae, REPRESENTATION, torch.from_numpy(each)[None]) for each in sounds])


@torch.no_grad()
def error(vae, drawn):
    """Return the mean audible error of decoded log-magnitudes, in nepers, that the small code causes."""
    made = vae.expand(vae.reduce(drawn.mT))
    decoded = (
        vae.levels.amplitude(vae.decode_bands(*vae.code.part(code[:, :1], code[:, 1:])).log_magnitude)
        for code in (made, drawn.mT)
    )
    return float(audible_error(*decoded, vae.levels.floor).mean())


def test_windows_are_latent_frames(vae):
    """They hold the code of a sound. Its last frame is repeated, and what is after the end is left out."""
    sound = torch.from_numpy(make_sound(9_000_001, RATE)[:RATE])[None]
    whole = torch.cat(vae.encode_rich(REPRESENTATION(sound))[:2], dim=1)[0].T
    longer = torch.zeros(2, 3 * 65_536 - 1)
    longer[0, : sound.shape[1]], longer[1] = sound, 0.1
    made = windows(vae, REPRESENTATION, longer)
    assert made.shape == (2 + 6, 8, 130)
    own = made[:2].flatten(0, 1)
    # The last frame differs, since one of both ends before the other.
    torch.testing.assert_close(own[: len(whole) - 1], whole[:-1])
    torch.testing.assert_close(own[len(whole) :], own[len(whole) - 1].expand(16 - len(whole), -1))


def test_the_compact_code_belongs_to_the_base_and_is_better_than_axes(vae):
    """It is that of the base in the package. On unseen sounds, it errs less than the base's axes alone."""
    assert load_state(PACKAGED)["base"] == base_checksum()
    drawn = codes(vae, 40)
    some = drawn[:16].mT
    vae.axes.begin_with(load_codes(), importance_of(vae, some[:, :1], some[:, 1:]))
    linear = error(vae, drawn)
    vae.load_state_dict(vae.state_dict() | load_compact())
    assert error(vae, drawn) < 0.85 * linear


class Clips:
    """A source of clips that makes them of noise, in place of `Sounds`."""

    step = 0

    def draw(self, _clips, samples):
        """Draw the clips of the next step."""
        self.step += 1
        noise = torch.randn(2, samples, generator=torch.Generator().manual_seed(self.step))
        return noise * torch.exp(-torch.arange(samples) / RATE * torch.tensor([[3.0], [30.0]]))


@pytest.fixture
def train(tmp_path):
    """Return a function that trains the layers for some steps in all, in a folder."""

    def run(steps, begin=None):
        made = Training(tmp_path, torch.device("cpu"), batch=8, begin=begin)
        made.run(Clips(), 20, steps, math.inf)
        return made

    return run


def test_a_training_lowers_the_error_of_its_axes(train):
    """A training begins with the principal axes, and its averaged layers err less after a few steps."""
    before, drawn = train(0), torch.cat([*Codes(train(0).vae, REPRESENTATION, Clips(), 1).more()[None]])
    assert before.axes.begun
    assert train(12).error(drawn) < before.error(drawn)


def test_a_training_goes_on_where_it_was_stopped(train, tmp_path):
    """It goes on with its axes and averages, and keeps what belongs into the package beside them."""
    first = train(3)
    again = train(3)
    assert again.step == 3
    for name, value in first.averaged().items():
        assert torch.equal(value, again.averaged()[name]), name
    assert train(5).step == 5
    kept = load_state(tmp_path / "layers.safetensors")
    assert {k: v.shape for k, v in kept.items()} == {k: v.shape for k, v in load_compact().items()}


def test_a_training_begins_with_other_layers(train, tmp_path):
    """It begins with the layers of another training or of the package, whose axes it keeps."""
    path = tmp_path / "other.safetensors"
    layers = load_compact() | {"joint.inwards.0.bias": torch.arange(768.0)}
    save_state(path, layers)
    for begin, expected in ((path, layers), (PACKAGED, load_compact())):
        begun = train(0, begin).averaged()
        (tmp_path / "checkpoint.safetensors").unlink()
        for name, value in expected.items():
            assert torch.equal(begun[name], value), name


def test_the_mean_of_layers(tmp_path):
    """A share of the layers that a training began with is mixed with what it made of them."""
    first = {"weight": torch.tensor([1.0, 3.0]), "begun": torch.tensor(True)}
    save_state(tmp_path / "first.safetensors", first)
    mean = mean_of(first | {"weight": torch.tensor([5.0, 3.0])}, tmp_path / "first.safetensors", 0.25)
    assert mean["weight"].tolist() == [4, 3]
    assert mean["begun"].dtype == torch.bool

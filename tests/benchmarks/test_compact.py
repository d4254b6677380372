"""Tests of benchmarks/compact.py and of the compact code in the package."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from compact import RATE, Training, windows
from synthetic import make_sound

import distill.base
from distill.base import base_checksum, load_base, load_codes, load_compact
from distill.config.settings import ModelSettings
from distill.model import VAE
from distill.model.initialization import importance_of
from distill.model.spread import audible_error
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import load_state

REPRESENTATION = MagnitudeIF(RATE)


@pytest.fixture
def vae():
    """Return the base model with a compact code that is not initialized."""
    made = VAE(ModelSettings(code="compact"), REPRESENTATION).eval().requires_grad_(False)
    made.load_state_dict(load_base().weights, strict=False)
    return made


def codes(vae, count):
    """Return windows of the codes of sounds that no model has heard."""
    sounds = ((make_sound(seed, RATE)[:RATE], seed) for seed in range(9_000_000, 9_000_000 + count))
    return torch.cat([windows(vae, REPRESENTATION, *each) for each in sounds])


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
    """They hold the code from the first frame on, as latent frames do, and again from a later frame on."""
    sound = make_sound(9_000_000, RATE)[:RATE]
    made = windows(vae, REPRESENTATION, sound, seed=3)
    whole = torch.cat(vae.encode_rich(REPRESENTATION(torch.from_numpy(sound)[None].float()))[:2], dim=1)[0].T
    frames = len(whole)
    assert made.shape == (2 * -(-frames // 8), 8, 130)
    torch.testing.assert_close(made[: len(made) // 2].flatten(0, 1)[:frames], whole)
    torch.testing.assert_close(made[len(made) // 2 :].flatten(0, 1)[: frames - 4], whole[4:])


def test_the_compact_code_belongs_to_the_base_and_is_better_than_axes(vae):
    """It is that of the base in the package. On unseen sounds, it errs less than the base's axes alone."""
    path = Path(distill.base.__file__).with_name("compact.safetensors")
    assert load_state(path)["base"] == base_checksum()
    drawn = codes(vae, 12)
    some = drawn[:16].mT
    vae.axes.begin_with(load_codes(), importance_of(vae, some[:, :1], some[:, 1:]))
    linear = error(vae, drawn)
    vae.load_state_dict(vae.state_dict() | load_compact())
    assert error(vae, drawn) < 0.95 * linear


def test_a_training_lowers_the_error_of_its_axes(vae):
    """A training begins with the principal axes, and its averaged layers err less after a few steps."""
    drawn = codes(vae, 4)
    training = Training(vae, drawn, drawn)
    before = training.error(drawn)
    for step in range(12):
        training.learn(step, 12)
    weights = training.weights()
    assert training.error(drawn) < before
    assert set(weights) == set(load_compact())

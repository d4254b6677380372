"""The parts of a model, made of the settings of a recipe."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from distill.model.vae import VAE
from distill.settings import ModelSettings, RepresentationSettings
from distill.spectral.representation import MagnitudeIF

_SEEDING = threading.RLock()


def make_representation(settings: RepresentationSettings) -> MagnitudeIF:
    """Make the representation of a recipe."""
    return MagnitudeIF(settings.sample_rate, settings.n_fft, settings.hop, settings.floor)


def make_model(settings: ModelSettings, representation: MagnitudeIF, seed: int) -> VAE:
    """Make the model of a recipe, its weights drawn with a seed."""
    with seeded(seed):
        return VAE(settings, representation)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw with a seed, and leave the global generator as it was. Threads that do so wait for each other."""
    with _SEEDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield

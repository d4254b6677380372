"""Functions that build a model and its representation from the settings of a recipe."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from distill.config.settings import ModelSettings, RepresentationSettings
from distill.model.vae import VAE
from distill.spectral.representation import MagnitudeIF

_SEEDING = threading.RLock()


def make_representation(settings: RepresentationSettings) -> MagnitudeIF:
    """Return the representation that the settings describe."""
    return MagnitudeIF(settings.sample_rate, settings.n_fft, settings.hop, settings.floor)


def make_model(settings: ModelSettings, representation: MagnitudeIF, seed: int) -> VAE:
    """Return the model that the settings describe, its weights initialized with `seed`."""
    with seeded(seed):
        return VAE(settings, representation)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator inside the context, and restore it afterwards.

    A lock admits one thread at a time.
    """
    with _SEEDING, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield

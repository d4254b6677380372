"""What the tests of losses share: a step of a training run, and losses composed of functions."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from distill import TermConfig, TermSpec, hookimpl
from distill.loss.composing import compose
from distill.plugin.registry import Registry
from distill.spectral.representation import MagnitudeIF
from distill.views import LossInputs, Posterior, Signal

SIZES = {"fft_sizes": [32, 64], "hop_sizes": [8, 16], "win_lengths": [32, 50]}


class CountingIF(MagnitudeIF):
    """A representation that counts how often it is used, each way."""

    def __init__(self):
        super().__init__(8000, 64, 16)
        self.forths = self.backs = 0

    def forward(self, waveform):
        """Count and transform."""
        self.forths += 1
        return super().forward(waveform)

    def inverse(self, spectrogram, length=None, iterations=0):
        """Count and go back."""
        self.backs += 1
        return super().inverse(spectrogram, length, iterations)


def noise(*shape, seed=0):
    """Make normal noise a tenth of full scale."""
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Step:
    """One step of a training: a predicted spectrogram, a target waveform and a posterior."""

    def __init__(self, samples=150, *, progress=0.5):
        self.representation = CountingIF()
        self.prediction = self.representation(noise(2, samples)).requires_grad_()
        self.mu, self.logvar = (noise(2, 4, 3, seed=seed).requires_grad_() for seed in (2, 3))
        self.representation.forths = 0
        self.inputs = LossInputs(
            prediction=Signal.from_spectrogram(self.prediction, self.representation),
            target=Signal.from_waveform(noise(2, samples, seed=1), self.representation),
            posterior=Posterior(mu=self.mu, logvar=self.logvar),
            progress=progress,
        )


@pytest.fixture(scope="session")
def make_step():
    """Return the class of a step."""
    return Step


@pytest.fixture(scope="session")
def composed():
    """Return a function that composes terms that are given as functions or as classes."""

    def composed(*terms, options=None, built_in=(), names=("a", "b", "c"), last=()):
        """Compose terms a, b, c (aliases aa, bb, cc), given as functions of the inputs or as classes."""

        def builder(term):
            class Term(nn.Module):
                def forward(self, inputs):
                    return term(inputs)

            return term if isinstance(term, type) else lambda _: Term()

        names = names[: len(terms)]
        specs = [
            TermSpec(
                name=name,
                aliases=(name * 2,),
                config=TermConfig,
                build=builder(term),
                summary="",
                last=name in last,
            )
            for name, term in zip(names, terms, strict=True)
        ]
        plugin = SimpleNamespace(distill_loss_terms=hookimpl(lambda: specs))
        registry = Registry(discover=False)
        registry.register(plugin, name="my-loop", version="1")
        return compose([*built_in, *names], options, registry=registry)

    return composed


@pytest.fixture(scope="session")
def numbers():
    """Return a function that turns components into numbers."""
    return lambda components: {name: value.item() for name, value in components.items()}


@pytest.fixture(scope="session")
def small_stft():
    """Return options of `stft` with small resolutions."""
    return {f"stft.{option}": value for option, value in SIZES.items()}


@pytest.fixture(scope="session")
def small_waveform():
    """Return options of `waveform` with small resolutions."""
    return {f"waveform.{option}": value for option, value in SIZES.items()}

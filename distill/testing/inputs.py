"""Inputs for tests: decaying tones with a little noise, and a prediction close to them.

Shapes: `B` batch, `F` bins, `T` frames, `N` samples, `D` latent size, `T'` latent frames.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from attrs import evolve, field, frozen
from torch import Tensor

from distill.spectral.representation import MagnitudeIF
from distill.views import LossInputs, Posterior, Signal

SAMPLES = 4000
"""Half a second at 8 kHz: longer than the largest window of the built-in terms, but fast to process."""

Kind = Literal["spectrogram", "waveform"]


def small_representation() -> MagnitudeIF:
    """Return the default representation for tests: 8 kHz, 129 bins, a hop of 64 samples."""
    return MagnitudeIF(sample_rate=8000, n_fft=256, hop=64)


@frozen(kw_only=True)
class Material:
    """The data of inputs: two waveforms `[B, N]`, and a posterior `[B, D]` or `[B, D, T']`, or None.

    A spectrogram is computed once for all inputs that are made of it.
    """

    prediction: Tensor
    target: Tensor
    mu: Tensor | None
    logvar: Tensor | None
    _spectrograms: dict[tuple[bool, MagnitudeIF], Tensor] = field(factory=dict, init=False)

    def scaled(self, gain: float) -> "Material":
        """Return the material with both waveforms multiplied by `gain`."""
        return evolve(self, prediction=gain * self.prediction, target=gain * self.target)

    def to(self, where: torch.device | torch.dtype) -> "Material":
        """Return the material on another device or in another dtype."""
        mu, logvar = (None if each is None else each.to(where) for each in (self.mu, self.logvar))
        return Material(
            prediction=self.prediction.to(where), target=self.target.to(where), mu=mu, logvar=logvar
        )

    def taken(self, examples: Sequence[int]) -> "Material":
        """Return some of the examples, in this order. Indices may repeat."""
        chosen = torch.tensor(examples)
        mu, logvar = (None if each is None else each[chosen] for each in (self.mu, self.logvar))
        return Material(prediction=self.prediction[chosen], target=self.target[chosen], mu=mu, logvar=logvar)

    def inputs(
        self,
        representation: MagnitudeIF,
        *,
        prediction: Kind = "spectrogram",
        target: Kind = "waveform",
        progress: float = 0.5,
    ) -> LossInputs:
        """Return inputs from copies of all tensors. Prediction and posterior require gradients."""
        posterior = None
        if self.mu is not None and self.logvar is not None:
            mu, logvar = (each.clone().requires_grad_() for each in (self.mu, self.logvar))
            posterior = Posterior(mu=mu, logvar=logvar)
        return LossInputs(
            prediction=self._signal(self.prediction, representation, prediction, learns=True),
            target=self._signal(self.target, representation, target, learns=False),
            posterior=posterior,
            progress=progress,
        )

    def _signal(self, waveform: Tensor, representation: MagnitudeIF, kind: Kind, *, learns: bool) -> Signal:
        if kind == "waveform":
            return Signal.from_waveform(waveform.clone().requires_grad_(learns), representation)
        made = waveform is self.target, representation
        if made not in self._spectrograms:
            with torch.no_grad():
                self._spectrograms[made] = representation(waveform)
        spectrogram = self._spectrograms[made].clone().requires_grad_(learns)
        return Signal.from_spectrogram(spectrogram, representation, length=waveform.shape[-1])


def material(
    *,
    batch: int = 2,
    samples: int = SAMPLES,
    sample_rate: int = 8000,
    latents: tuple[int, ...] | None = (8, 5),
    seed: int = 0,
) -> Material:
    """Return random material. `latents` is `(D,)`, `(D, T')`, or None for no posterior."""
    generator = torch.Generator().manual_seed(seed)

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, 1, 1, generator=generator)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    time = torch.arange(samples) / sample_rate - between(0.0, 0.02)
    pitch, decay, level = 110 * 2 ** between(0.0, 2.0), between(3.0, 12.0), between(0.1, 0.25)
    harmonics = torch.arange(1, 7)[:, None]

    def tones(detuning: float, damping: float, gain: float) -> Tensor:
        cycles = detuning * pitch * harmonics * time
        envelope = gain * level * (-damping * decay * time.clamp(min=0)).exp() * (time >= 0) / harmonics
        partials = envelope * torch.sin(2 * math.pi * cycles)
        return partials.sum(1) + 1e-3 * noise(batch, samples)

    target = tones(1.0, 1.0, 1.0)
    prediction = tones(1.002, 1.2, 0.8)
    mu = logvar = None
    if latents is not None:
        mu, logvar = noise(batch, *latents), 0.5 * noise(batch, *latents) - 1
    return Material(prediction=prediction, target=target, mu=mu, logvar=logvar)


def loss_inputs(
    *,
    batch: int = 2,
    samples: int = SAMPLES,
    representation: MagnitudeIF | None = None,
    prediction: Kind = "spectrogram",
    latents: tuple[int, ...] | None = (8, 5),
    equal: bool = False,
    progress: float = 0.5,
    seed: int = 0,
) -> LossInputs:
    """Return inputs for a term: sounds like plucked strings, and a prediction close to them.

    The prediction is a little quieter, higher and shorter than the target. Gradients arrive at the leaf
    tensors `inputs.prediction.sources`, and at `mu` and `logvar` of `inputs.posterior`.

    Args:
        batch: the number of examples, B.
        samples: the number of samples per example, N. Default: half a second at 8 kHz.
        representation: the representation. Default: a small one, `MagnitudeIF(8000, n_fft=256, hop=64)`.
        prediction: the form of the prediction, a `"spectrogram"` `[B, 2, F, T]` or a `"waveform"` `[B, N]`.
        latents: the shape of the posterior without B, `(D,)` or `(D, T')`, or None for no posterior.
        equal: make the prediction exactly equal to the target in every view.
        progress: the fraction of the training that is done, 0..1.
        seed: the random seed.
    """
    representation = representation or small_representation()
    made = material(
        batch=batch, samples=samples, sample_rate=representation.sample_rate, latents=latents, seed=seed
    )
    if equal:
        made = evolve(made, prediction=made.target)
    # The target is of the same kind, since conversion between kinds has rounding errors.
    target: Kind = prediction if equal else "waveform"
    return made.inputs(representation, prediction=prediction, target=target, progress=progress)


def varied_loss_inputs(representation: MagnitudeIF | None = None) -> Iterator[tuple[str, LossInputs]]:
    """Yield inputs of the various shapes that a term must accept, each with a description."""
    variants: dict[str, LossInputs] = {
        "a predicted spectrogram": loss_inputs(representation=representation),
        "a predicted waveform and latents [B, D]": loss_inputs(
            representation=representation, prediction="waveform", latents=(8,), batch=3, seed=1
        ),
        "one example of an odd length, at the end of the training": loss_inputs(
            representation=representation, batch=1, samples=SAMPLES - 901, progress=1.0, seed=2
        ),
    }
    yield from variants.items()

"""Making a sound from latents with controls: moves along axes, and changes of descriptors by given amounts.

Shapes: `C` channels, `D` numbers per latent frame, `T'` latent frames, `R` numbers per frame of the rich
code, `S` frames of it, `Q` bands, `F` bins, `T` frames, `N` samples, `A` axes.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Self

import torch
from attrs import evolve
from torch import Tensor

from distill.controls.attack import with_attack
from distill.controls.descriptors import brightness, noisiness, octaves_of, octaves_of_hertz, weighting
from distill.controls.directions import Directions, heard
from distill.model.code import BAND
from distill.model.sounds import Encoded, log_magnitude, noise_for, synthesize
from distill.model.vae import VAE
from distill.spectral.representation import MagnitudeIF

_LEVEL_SCALE = 3.0
"""Nepers per unit of the latents' levels."""

_STEEPEST = 9.2
"""The largest difference of gain between two bands, in nepers (80 dB)."""

_NOTHING = 1e-30
_HALVINGS = 40
_TRIALS = 4
_CLOSE = 0.1
_PULL_PER_DB, _PULLS = 0.12, (-1.0, 1.0)
"""Noisiness is found within 0.1 dB, in at most so many trials, the first of which is the median of the
recordings of the Sonic Pi sample set; at a pull of 1 all shapes are those of noise."""

SHAPED = frozenset({"attack", "loudness"})
"""The descriptors that are changed in the decoded waveform."""


def moved(vae: VAE, latents: Tensor, offset: Tensor) -> Tensor:
    """Add an offset `[R, 1]` or `[C, R, S]` to the audible frames of the rich code of latents `[C, D, T']`.

    The overall level remains, apart from the first number of the offset.
    """
    latents = latents.to(vae.device)
    code = vae.expand(latents)
    changed = code + heard(code)[:, None] * offset.to(vae.device)
    excess = vae.levels.total(vae.bands_of(changed)[0]) - vae.code.total(changed[:, 0])
    changed[:, 1 : 1 + vae.bands] -= excess[:, None] / _LEVEL_SCALE
    # What a small code loses of the change is lost, but nothing else changes.
    return (vae.reduce(changed) + (latents - vae.reduce(code))).cpu()


class Decoded:
    """A sound without controls: its latents, and what is decoded of them, so that it is decoded once.

    Attributes:
        encoded: the latents and the coherence of the channels.
        samples: the length in samples.
        noise: the spectrogram `[C, 2, F, T]` of the noise that fills in fluctuations and initial phases.
    """

    def __init__(
        self, vae: VAE, representation: MagnitudeIF, encoded: Encoded, noise: Tensor, samples: int
    ) -> None:
        self.encoded, self.noise, self.samples = encoded, noise, samples
        self._vae, self._representation = vae, representation

    @classmethod
    def of(cls, vae: VAE, representation: MagnitudeIF, encoded: Encoded, samples: int) -> Self:
        """Decode latents, which hold so many samples, with new noise."""
        noise = noise_for(vae, representation, encoded.latents, samples, encoded.coherence)
        return cls(vae, representation, encoded, noise, samples)

    def moved(self, offset: Tensor) -> Self:
        """Return the sound with an offset `[R, 1]` or `[C, R, S]` of its code, as `moved` adds it."""
        latents = moved(self._vae, self.encoded.latents, offset)
        encoded = evolve(self.encoded, latents=latents)
        return type(self)(self._vae, self._representation, encoded, self.noise, self.samples)

    @cached_property
    def log_magnitudes(self) -> Tensor:
        """The log-magnitudes `[C, F, T]`."""
        return log_magnitude(self._vae, self.encoded.latents, self.noise, self.encoded.contrast)

    @cached_property
    def power(self) -> Tensor:
        """The power spectrogram `[F, T]`, summed over channels."""
        return self._representation.amplitude(self.log_magnitudes).square().sum(0)

    @cached_property
    def noisiness(self) -> float:
        """The noisiness in dB."""
        return noisiness(self.power, self._representation.sample_rate)

    def waveform(self, log_magnitudes: Tensor) -> Tensor:
        """Return the waveform `[C, N]` with changed log-magnitudes `[C, F, T]`."""
        return synthesize(
            self._vae, self._representation, log_magnitudes, self.noise, self.samples, self.encoded.coherence
        )


@torch.no_grad()
def sound_of(
    vae: VAE, representation: MagnitudeIF, sound: Decoded, directions: Directions, values: Mapping[str, float]
) -> Tensor:
    """Return the waveform `[C, N]` of a sound with controls.

    `values` maps principal axes, such as `axis 2`, to standard deviations of the recordings, and descriptors
    to differences in their units: `brightness`, `noisiness`, `attack`, `loudness`. These differences are
    relative to the same sound with the given moves along principal axes. A descriptor is changed as far as
    possible if the sound does not allow the whole difference. Every axis but `loudness` keeps the loudness,
    and `noisiness` the brightness.

    - Noisiness: the shapes of bands move towards those of the noisiest recordings or away from them, by an
      amount found in a few trials.
    - Brightness: band levels change as between dark and bright recordings, by the amount that gives the
      difference for the magnitudes of this sound.
    - Attack: the waveform gets a linear fade-in, the one of many that comes nearest to the difference.
    - Loudness: a gain.
    """
    along = sound
    for number, direction in enumerate(directions.principal, 1):
        if value := values.get(f"axis {number}", 0.0):
            along = along.moved(value * direction[:, None])
    found = along
    if (wanted := values.get("noisiness", 0.0)) and directions.noisy is not None:
        found = _noisier(vae, along, directions.noisy, wanted)
    log_magnitudes = found.log_magnitudes
    if not values.keys() <= SHAPED:
        tilt = directions.tilt if "brightness" in values or "noisiness" in values else None
        bright = values.get("brightness", 0.0)
        log_magnitudes = _adjusted(representation, log_magnitudes, sound.power, along.power, tilt, bright)
    return shaped(found.waveform(log_magnitudes), representation.sample_rate, values)


def shaped(waveform: Tensor, sample_rate: int, values: Mapping[str, float]) -> Tensor:
    """Change the attack and the loudness of a waveform `[C, N]`, which are not those of its latents."""
    if wanted := values.get("attack", 0.0):
        waveform = with_attack(waveform, sample_rate, wanted)
    return waveform * 10 ** (values.get("loudness", 0.0) / 20)


def _noisier(vae: VAE, sound: Decoded, noisy: Tensor, wanted: float) -> Decoded:
    """Return the sound with a noisiness that differs by `wanted` dB, found by the secant method."""
    towards = noisy[:, None] - vae.expand(sound.encoded.latents.to(vae.device)).cpu()
    towards[:, : 1 + vae.bands] = 0  # levels are those of brightness and loudness
    amount, before, best, nearest = wanted * _PULL_PER_DB, (0.0, 0.0), sound, abs(wanted)
    for _ in range(_TRIALS):
        amount = max(_PULLS[0], min(_PULLS[1], amount))
        tried = sound.moved(amount * towards)
        got = tried.noisiness - sound.noisiness
        if abs(got - wanted) < nearest:
            best, nearest = tried, abs(got - wanted)
        if nearest < _CLOSE or amount == before[0]:
            break
        slope = (got - before[1]) / (amount - before[0])
        before = amount, got
        amount += (wanted - got) / slope if slope > 0 else amount
    return best


def _adjusted(
    representation: MagnitudeIF,
    log_magnitudes: Tensor,
    base: Tensor,
    bright: Tensor,
    tilt: Tensor | None,
    wanted: float,
) -> Tensor:
    """Return log-magnitudes `[C, F, T]` with the loudness of the power spectrogram `base` `[F, T]`.

    With `tilt`, the brightness shall differ by `wanted` octaves from that of the power spectrogram `bright`
    `[F, T]`.
    """
    rate, bins = representation.sample_rate, representation.bins
    weights, loud = weighting(bins, rate), base.double().sum(-1).cpu()
    amplitude = representation.amplitude(log_magnitudes)
    spectrum = amplitude.double().square().sum((0, 2)).cpu()
    gain = torch.ones_like(spectrum)
    if tilt is not None:
        curve = _over_bins(tilt.double(), bins, rate)
        target = brightness(bright, rate) + wanted
        gain = (_solve(spectrum, curve, octaves_of(bins, rate), target) * (curve - curve.mean())).exp()
    ratio = (weights * loud).sum() / (weights * spectrum * gain.square()).sum().clamp(min=_NOTHING)
    gain = (gain * ratio.sqrt()).to(amplitude)
    return torch.log1p(amplitude * gain[:, None] / representation.floor)


def _over_bins(tilt: Tensor, bins: int, sample_rate: int) -> Tensor:
    """Interpolate a change of band levels `[Q]` over bins `[F]`, along the logarithm of frequency.

    Below the centre of the lowest band, the slope between the lowest two goes on: most music has its
    fundamentals there.
    """
    places = octaves_of(bins, sample_rate)
    hertz = (torch.arange(len(tilt), dtype=torch.float64) + 0.5) * BAND * sample_rate / 2 / (bins - 1)
    centres = octaves_of_hertz(hertz)
    if len(tilt) < 2:
        return tilt.expand(bins).clone()
    low = torch.searchsorted(centres, places).clamp(1, len(tilt) - 1) - 1
    share = ((places - centres[low]) / (centres[low + 1] - centres[low])).clamp(max=1)
    return torch.lerp(tilt[low], tilt[low + 1], share)


def _solve(spectrum: Tensor, curve: Tensor, octaves: Tensor, wanted: float) -> float:
    """Return how much of the gain `curve` `[F]`, in nepers, gives a power spectrum `[F]` a brightness."""
    steep = float(curve.amax() - curve.amin())
    if not steep > 0 or not spectrum.sum() > 0:
        return 0.0

    def centroid(amount: float) -> float:
        tilted = (
            spectrum * (2 * amount * (curve - curve.amax() if amount > 0 else curve - curve.amin())).exp()
        )
        return float((tilted * octaves).sum() / tilted.sum().clamp(min=_NOTHING))

    low, high = -_STEEPEST / steep, _STEEPEST / steep
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if centroid(middle) < wanted else (low, middle)
    return (low + high) / 2

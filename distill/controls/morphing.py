"""Morphs between two sounds, and variations around one.

Shapes: `C` channels, `N` samples, `R` numbers per frame of the rich code, `S` frames.
"""

from collections.abc import Sequence

import torch
from attrs import evolve, frozen
from torch import Tensor

from distill.controls.directions import RANGE
from distill.model.mixing import Statistics, stretched
from distill.model.sounds import Encoded, code_of, decode, draw
from distill.model.vae import VAE
from distill.spectral.representation import MagnitudeIF


@frozen(kw_only=True, eq=False)
class Sound:
    """A sound to start from: its latents, its length in samples, and its reconstruction `[C, N]`."""

    encoded: Encoded
    samples: int
    reconstruction: Tensor


@torch.no_grad()
def morph(
    vae: VAE, representation: MagnitudeIF, first: Sound, second: Sound, share: float, seed: int = 0
) -> Tensor:
    """Return a waveform `[C, N]` that is by `share`, from 0 to 1, on the way from one sound to another.

    The ends are the reconstructions. In between, the rich codes of both sounds are resized to a common
    length by linear interpolation, and interpolated; so are the length, and the coherence of the channels.
    Levels are thus interpolated in decibels, from 60 dB below the loudest frame on, so that silence in one
    sound does not silence the other.
    """
    if share <= 0:
        return first.reconstruction
    if share >= 1:
        return second.reconstruction
    ends = [(each.encoded, each.samples) for each in (first, second)]
    encoded, samples = interpolated(vae, representation, ends[0], ends[1], share)
    latents, coherence, contrast = encoded.latents, encoded.coherence, encoded.contrast
    return decode(vae, representation, latents, samples, coherence, seed=seed, contrast=contrast)


@torch.no_grad()
def interpolated(
    vae: VAE,
    representation: MagnitudeIF,
    first: tuple[Encoded, int],
    second: tuple[Encoded, int],
    share: float,
) -> tuple[Encoded, int]:
    """Return the latents of a sound between two sounds, and its length in samples, as `morph` decodes them.

    Each of the two is given by its latents and its length in samples.
    """
    (one, begin), (other, end) = first, second
    samples = max(1, round(begin + share * (end - begin)))
    frames = vae.code_frames(representation.frames(samples))
    channels = max(len(one.latents), len(other.latents))
    begun, ended = (
        stretched(_audible(code_of(vae, representation, each)), frames).expand(channels, -1, -1)
        for each in (one, other)
    )
    coherences = [each.coherence.expand(channels, channels, -1) for each in (one, other)]
    coherence = coherences[0] * (1 - share) + coherences[1] * share
    contrast = one.contrast * (1 - share) + other.contrast * share
    latents = vae.reduce(torch.lerp(begun, ended, share)).cpu()
    return Encoded(latents, coherence, samples, contrast), samples


def _audible(code: Tensor) -> Tensor:
    """Raise the level of a code `[C, R, S]` where it is more than 60 dB below that of the loudest frame."""
    level = code[:, :1]
    return torch.cat([level.clamp(min=float(level.amax()) - RANGE), code[:, 1:]], dim=1)


@torch.no_grad()
def vary(
    vae: VAE,
    representation: MagnitudeIF,
    sound: Sound,
    bank: Sequence[Encoded],
    statistics: Statistics,
    amount: float,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Return a variation `[C, N]` of a sound, as `varied` finds its latents.

    With an `amount` of 0 it is the reconstruction.
    """
    if amount <= 0:
        return sound.reconstruction
    encoded = varied(vae, representation, (sound.encoded, sound.samples), bank, statistics, amount, generator)
    latents, coherence, contrast = encoded.latents, encoded.coherence, encoded.contrast
    return decode(vae, representation, latents, sound.samples, coherence, contrast=contrast)


@torch.no_grad()
def varied(
    vae: VAE,
    representation: MagnitudeIF,
    sound: tuple[Encoded, int],
    bank: Sequence[Encoded],
    statistics: Statistics,
    amount: float,
    generator: torch.Generator,
) -> Encoded:
    """Return the latents of a variation of a sound, which is given by its latents and its length in samples.

    They are interpolated towards those of a new sound of the same length, as `draw` returns it. So the
    covariance of variations is that of new sounds times the square of `amount`, and with 1 the variation is
    the new sound. The number of channels is that of the sound.
    """
    encoded, samples = sound
    if amount <= 0:
        return encoded
    seconds = samples / representation.sample_rate
    new, _ = draw(vae, representation, bank, statistics, generator=generator, seconds=seconds)
    new = evolve(new, latents=new.latents.cpu())
    if len(encoded.latents) == 1:
        new = Encoded.mono(new.latents[0], representation.bins, contrast=new.contrast)
    return interpolated(vae, representation, sound, (new, samples), amount)[0]

"""Sounds out of a trained model: recordings reconstructed, and new ones made of their latents.

Shapes: `C` channels, `N` samples, `F` bins, `D` numbers in each of `T'` latents.

Channels are encoded and decoded each for itself. What they have in common is their coherence at each
frequency: they begin with noise that is coherent as they are, and are mixed to their correlation, which
for a new sound follows from its coherence and its magnitudes.
"""

from collections.abc import Callable
from functools import partial

import torch
from attrs import frozen
from torch import Tensor

from distill.model.channels import coherence_of, coherent, covariance_from, with_correlation
from distill.model.code import BAND
from distill.model.mixing import mix
from distill.model.phases import draw_noise, with_phases
from distill.model.refinement import refine
from distill.model.vae import VAE
from distill.spectral.representation import MagnitudeIF

_PIECE_SECONDS = 30.0
_OVERLAP_SECONDS = 0.1

_ROUNDS = 4
"""Times that the channels are mixed while their phases are found; `docs/sound.md` has the measurements."""


@frozen(eq=False)
class Encoded:
    """What a model keeps of a recording: latents `[C, D, T']`, and the coherence `[C, C, F]`, complex."""

    latents: Tensor
    coherence: Tensor

    @classmethod
    def mono(cls, latents: Tensor, bins: int) -> "Encoded":
        """Return that of one channel, from its latents `[D, T']` and its number of bins."""
        return cls(latents[None], torch.ones(1, 1, bins, dtype=torch.complex64))


@torch.no_grad()
def reconstruct(vae: VAE, representation: MagnitudeIF, waveform: Tensor, *, refinements: int = 0) -> Tensor:
    """Encode and decode a waveform `[C, N]` of any length.

    Channels are encoded each for itself. Their coherence is that of `waveform`, which is measured beside
    the latents. The latents are refined in `refinements` steps. A long waveform is taken in pieces of
    half a minute, faded into each other, so that memory stays flat.
    """
    vae.eval()
    piece = int(_PIECE_SECONDS * representation.sample_rate)
    overlap = int(_OVERLAP_SECONDS * representation.sample_rate)
    fade = torch.linspace(0, 1, overlap)
    result = torch.zeros(waveform.shape)
    for start in range(0, max(1, waveform.shape[-1] - overlap), piece - overlap):
        made = _reconstruct_piece(vae, representation, waveform[:, start : start + piece], refinements)
        if start:
            result[:, start : start + overlap] *= 1 - fade
            made[:, :overlap] *= fade
        result[:, start : start + made.shape[-1]] += made
    return result


def _reconstruct_piece(vae: VAE, representation: MagnitudeIF, waveform: Tensor, refinements: int) -> Tensor:
    """Return the reconstruction `[C, N]` of a waveform `[C, N]` that memory has room for."""
    coherence = coherence_of(waveform, representation.n_fft)
    original, samples = waveform.to(vae.device), waveform.shape[-1]
    noise = _noise(representation, coherence, samples, vae.device)
    latents, _ = vae.encode(representation(original))
    if refinements:
        latents = refine(vae, representation, original, latents, refinements, noise)
    wide = waveform.double()
    return _sound(vae, representation, latents, noise, samples, lambda _: wide @ wide.T)


def _noise(representation: MagnitudeIF, coherence: Tensor, samples: int, device: torch.device) -> Tensor:
    """Return the spectrogram `[C, 2, F, T]` of white noise with a coherence `[C, C, F]`."""
    drawn = draw_noise(representation, len(coherence), samples)
    return representation(coherent(drawn, coherence, representation.n_fft).to(device))


def _sound(
    vae: VAE,
    representation: MagnitudeIF,
    latents: Tensor,
    noise: Tensor,
    samples: int,
    covariance_of: Callable[[Tensor], Tensor],
) -> Tensor:
    """Return the sound `[C, N]` of the latents `[C, D, T']` of channels.

    `noise` is what they begin with, and `covariance_of` maps their powers `[C, F]` to the covariance `[C, C]`
    that they get. Phases that are found for each channel apart drift apart, and mixing the channels to their
    correlation costs them their magnitudes. So both are done in turn, each time from the phases of
    what was mixed, in as many iterations together as one channel gets.
    """
    if len(latents) == 1:
        return vae.sound(latents, representation, samples, noise=noise).cpu()
    log_magnitude = vae.log_magnitude(latents, noise)
    power = representation.amplitude(log_magnitude).square().sum(dim=-1)
    covariance = covariance_of(power.cpu())
    for turn in range(_ROUNDS):
        iterations = vae.iterations * (turn + 1) // _ROUNDS - vae.iterations * turn // _ROUNDS
        made = with_phases(log_magnitude, noise, representation, samples, iterations)
        made = with_correlation(made.cpu(), covariance)
        noise = representation(made.to(vae.device))
    return made


@torch.no_grad()
def encode(vae: VAE, representation: MagnitudeIF, waveform: Tensor) -> Encoded:
    """Return what is kept of a waveform `[C, N]`; of more than two channels, the mean of theirs as one."""
    latents = vae.eval().encode(representation(waveform.to(vae.device)))[0].cpu()
    if len(waveform) > 2:
        return Encoded.mono(latents.mean(dim=0), representation.bins)
    return Encoded(latents, coherence_of(waveform, representation.n_fft))


@torch.no_grad()
def decode(
    vae: VAE,
    representation: MagnitudeIF,
    latents: Tensor,
    samples: int,
    coherence: Tensor | None = None,
) -> Tensor:
    """Return the sound `[C, N]` of the latents `[C, D, T']` of channels, N being `samples`.

    Channels are decoded each for itself or, with `coherence` `[C, C, F]`, mixed to the correlation that
    follows from it and from their magnitudes.
    """
    latents = latents.to(vae.device)
    if coherence is None:
        return vae.sound(latents, representation, samples).cpu()
    noise = _noise(representation, coherence, samples, vae.device)
    return _sound(vae, representation, latents, noise, samples, partial(covariance_from, coherence))


@torch.no_grad()
def generate(
    vae: VAE,
    representation: MagnitudeIF,
    bank: list[Encoded],
    *,
    generator: torch.Generator,
    temperature: float = 1.0,
    seconds: float | None = None,
) -> Tensor:
    """Make a new sound `[C, N]` of the latents of two recordings, stereo where one of them is.

    Two different entries of `bank` are drawn, brought to one length, and mixed band by band, see `mix`;
    `temperature` scales how far the sound wanders from what they are. It is as loud as they are on average,
    but neither louder nor quieter than 95 % of the bank. Latents drawn from the prior alone would know
    nothing of how a sound begins, rings and ends.
    """
    vae.eval()
    drawn = torch.randperm(len(bank), generator=generator)[:2].tolist()
    pair = [bank[drawn[0]], bank[drawn[-1]]]
    length = max(2, round(sum(each.latents.shape[-1] for each in pair) / 2))
    samples = representation.samples(length * vae.stride)
    if seconds is not None:
        samples = int(seconds * representation.sample_rate)
        length = vae.latent_frames(representation.frames(samples))
    channels = max(len(each.latents) for each in pair)
    latents, share = mix(
        vae,
        [each.latents.expand(channels, -1, -1).to(vae.device) for each in pair],
        [each.latents.to(vae.device) for each in bank],
        length=length,
        temperature=temperature,
        generator=generator,
    )
    # What lies between two coherences is one, too; a single channel is heard in the middle.
    first, second = (each.coherence.expand(channels, channels, -1) for each in pair)
    bands = (torch.arange(representation.bins) // BAND).clamp(max=len(share) - 1)
    coherence = torch.lerp(first, second, share.mean(dim=1)[bands].to(first.dtype))
    return decode(vae, representation, latents, samples, coherence)

"""Sounds out of a trained model: recordings reconstructed, and new ones made of their latents.

Shapes: `C` channels, `N` samples, `D` numbers in each of `T'` latents.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.model import VAE
from distill.refinement import refine
from distill.representation import MagnitudeIF

_PIECE_SECONDS = 30.0
_OVERLAP_SECONDS = 0.1


@torch.no_grad()
def reconstruct(vae: VAE, representation: MagnitudeIF, waveform: Tensor, *, refinements: int = 0) -> Tensor:
    """Encode and decode a waveform `[C, N]`, each channel for itself; of any length.

    The latents are refined in `refinements` steps. A long waveform is taken in pieces of half a minute,
    faded into each other, so that memory stays flat.
    """
    device = vae.device
    piece = int(_PIECE_SECONDS * representation.sample_rate)
    overlap = int(_OVERLAP_SECONDS * representation.sample_rate)
    fade = torch.linspace(0, 1, overlap)
    result = torch.zeros(waveform.shape)
    for start in range(0, max(1, waveform.shape[-1] - overlap), piece - overlap):
        original = waveform[:, start : start + piece].to(device)
        latents, _ = vae.eval().encode(representation(original))
        if refinements:
            latents = refine(vae, representation, original, latents, refinements)
        made = vae.sound(latents, representation, original.shape[-1]).cpu()
        if start:
            result[:, start : start + overlap] *= 1 - fade
            made[:, :overlap] *= fade
        result[:, start : start + made.shape[-1]] += made
    return result


@torch.no_grad()
def encode(vae: VAE, representation: MagnitudeIF, waveform: Tensor) -> Tensor:
    """Give the latents of a waveform `[C, N]`, the mean of its channels': `[D, T']`."""
    mu, _ = vae.eval().encode(representation(waveform.to(vae.device)))
    return mu.mean(dim=0).cpu()


@torch.no_grad()
def generate(
    vae: VAE,
    representation: MagnitudeIF,
    bank: list[Tensor],
    *,
    generator: torch.Generator,
    temperature: float = 1.0,
    seconds: float | None = None,
) -> Tensor:
    """Make a new sound `[1, N]` of the latents of two recordings.

    Two entries of `bank`, each `[D, T']`, are drawn, brought to one length, and mixed in shares that
    drift from one end of the sound to the other; `temperature` scales how far the path leaves the
    straight line between them, in deviations of the bank. Latents drawn from the prior alone would
    know nothing of how a sound begins, rings and ends.
    """
    first, second = (bank[i] for i in torch.randint(len(bank), (2,), generator=generator).tolist())
    length = max(2, round((first.shape[-1] + second.shape[-1]) / 2))
    if seconds is not None:
        frames = representation.frames(int(seconds * representation.sample_rate))
        length = vae.latent_frames(frames)
    ends = torch.rand(2, generator=generator)
    share = torch.lerp(ends[0], ends[1], torch.linspace(0, 1, length))
    latents = torch.lerp(_stretch(first, length), _stretch(second, length), share)
    deviation = torch.cat(bank, dim=1).std(dim=1, correction=0)
    # The wander is as slow as the sounds are: a few turns over the length, not one per latent.
    turns = torch.randn(len(deviation), max(2, length // 8), generator=generator)
    latents = latents + 0.3 * temperature * deviation[:, None] * _stretch(turns, length)
    device = vae.device
    samples = representation.samples(length * vae.stride)
    if seconds is not None:
        samples = min(samples, int(seconds * representation.sample_rate))
    return vae.eval().sound(latents[None].to(device), representation, samples).cpu()


def _stretch(latents: Tensor, length: int) -> Tensor:
    """Bring latents `[D, T']` to another length by linear interpolation."""
    return F.interpolate(latents[None], size=length, mode="linear", align_corners=True)[0]

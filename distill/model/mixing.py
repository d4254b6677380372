"""New latents, mixed of those of two recordings.

Shapes: `C` channels, `D` numbers in each of `T'` latents, `Q` bands, `K` the most shape numbers of a band.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.model.vae import VAE

_SHARPNESS = 12.0
"""How fast bands go over from one recording to the other; halfway between two tones there is none."""

_CROSSINGS = 0.2, 0.8
"""Where they go over, as a share of the shape numbers, which follow hearing, of the bands below."""

_WANDER = 0.3
"""How far a sound wanders at a temperature of 1, in deviations of the bank."""

_CURVE = 4
"""Points, evenly spaced over the bands, between which the wander of levels is interpolated."""

_TURN = 8
"""Latent frames in which a sound wanders from one place to another: 0.7 s."""

_RANGE = 6.9
"""Frames this far below the loudest, in nepers, are silence, whose levels tell nothing: 60 dB."""

_EXTREMES = 0.05
"""Share of the bank that is quieter, and share that is louder, than any new sound."""

_QUIETEST = 1e-16
"""The energy below which there is nothing to scale."""


def mix(
    vae: VAE,
    pair: Sequence[Tensor],
    bank: Sequence[Tensor],
    *,
    length: int,
    temperature: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Mix a pair of latents `[C, D, T']`: return `[C, D, length]`, and the share `[Q, length]` of the second.

    Low bands come from one of them, high bands from the other, and where one goes over to the other drifts
    from one end of the sound to the other. So tones stay tones, and what is made is neither a mean of the
    two nor a copy of one. Levels are mixed as powers: what is silent does not silence the other. Levels
    and shapes wander from that, at a `temperature` of 1 by 0.3 deviations of the bank, the levels along
    smooth curves over frequency. The level of the whole lies between those of the two, and within the 5th
    and the 95th percentile of the `bank`.
    """
    device, amplitude = vae.device, vae.levels.amplitude

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    share = _shares(vae, length, generator).to(device)
    (level_a, shape_a), (level_b, shape_b) = (vae.bands_of(_stretched(each, length)) for each in pair)
    power = torch.lerp(amplitude(level_a).square(), amplitude(level_b).square(), share)
    shapes = torch.lerp(shape_a, shape_b, share[..., None])

    level_deviation, shape_deviation = _deviations(vae, bank)
    turns = max(2, length // _TURN)
    curves = _resized(drawn(_CURVE, turns), vae.bands, length) * level_deviation[:, None]
    wander = _stretched(drawn(vae.bands, shapes.shape[-1], turns), length).mT
    # Down from the highest point of a curve, since at a high temperature a power overflows.
    wandered = power * torch.exp(2 * _WANDER * temperature * (curves - curves.amax(dim=0)))
    shapes = shapes + _WANDER * temperature * wander * shape_deviation[:, None]
    # Frame by frame the bands together are as loud as before they wandered.
    wandered = wandered * ((power.sum(1) + _QUIETEST) / (wandered.sum(1) + _QUIETEST))[:, None]

    ends = torch.stack([_loudness(vae, each) for each in pair])
    limits = torch.stack([_loudness(vae, each) for each in bank]).quantile(
        torch.tensor([_EXTREMES, 1 - _EXTREMES], device=device)
    )
    wanted = torch.lerp(ends[0], ends[1], share.mean()).clamp(limits[0], limits[1])
    gain = wanted.exp() / (wandered.mean() + _QUIETEST)
    levels = torch.log1p((wandered * gain).sqrt() / vae.levels.floor)
    return vae.from_bands(levels, shapes), share.cpu()


def _shares(vae: VAE, length: int, generator: torch.Generator) -> Tensor:
    """Return the share `[Q, length]` of one of two recordings, in the low bands or in the high ones."""
    numbers = torch.tensor(vae.code.counts).cumsum(0)
    places = numbers / numbers[-1].clamp(min=1)
    low, high = _CROSSINGS
    ends = low + (high - low) * torch.rand(2, generator=generator)
    crossing = torch.lerp(ends[0], ends[1], torch.linspace(0, 1, length))
    side = 1 - 2 * torch.randint(2, (), generator=generator)
    return torch.sigmoid(side * _SHARPNESS * (places[:, None] - crossing))


def _deviations(vae: VAE, bank: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the deviations over the bank of the levels of bands `[Q]`, and of shapes `[Q, K]`.

    Levels are those beside the level of the whole. Where nothing is heard does not count.
    """
    parts = [vae.bands_of(entry) for entry in bank]
    levels = torch.cat([level.movedim(1, 0).flatten(1) for level, _ in parts], dim=1)
    shapes = torch.cat([shape.movedim(1, 0).flatten(1, 2) for _, shape in parts], dim=1)
    whole = vae.levels.total(levels[None])[0]
    heard = whole >= whole.amax() - _RANGE
    return (
        (levels - whole)[:, heard].std(dim=1, correction=0),
        shapes[:, heard].std(dim=1, correction=0),
    )


def _loudness(vae: VAE, latents: Tensor) -> Tensor:
    """Return the logarithm of the mean power of latents `[C, D, T']` per band."""
    return (vae.levels.amplitude(vae.bands_of(latents)[0]).square().mean() + _QUIETEST).log()


def _resized(grid: Tensor, bands: int, length: int) -> Tensor:
    """Bring a grid of numbers to `[bands, length]` by linear interpolation in both directions."""
    return F.interpolate(grid[None, None], size=(bands, length), mode="bilinear", align_corners=True)[0, 0]


def _stretched(latents: Tensor, length: int) -> Tensor:
    """Bring latents `[C, D, T']` to another length by linear interpolation."""
    return F.interpolate(latents, size=length, mode="linear", align_corners=True)

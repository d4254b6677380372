"""Mixing of the rich codes of two recordings into a new one.

Shapes: `C` channels, `D` numbers per frame of the rich code, `S` frames, `Q` bands, `K` the largest number of
shape numbers in a band.
"""

from collections.abc import Sequence

import torch
from attrs import frozen
from torch import Tensor
from torch.nn import functional as F

from distill.model.vae import VAE

_SHARPNESS = 12.0
"""The steepness of the transition between the two recordings along frequency. A wide transition would lose
tones, since the mean of two tones is not a tone."""

_CROSSINGS = 0.2, 0.8
"""Bounds of the crossover: the share of the shape numbers, which follow hearing, in the bands below it."""

_WANDER = 0.3
"""The random deviation at a temperature of 1, in standard deviations of the bank."""

_CURVE = 4
"""The points, evenly spaced over the bands, between which the deviation of levels is interpolated."""

_TURN = 8
"""The frames between two points in time of the random deviation: 0.7 s."""

_RANGE = 6.9
"""Frames this far below the loudest, in nepers (60 dB), count as silence and are left out."""

_ATTACK = 0.7 / 3
"""The rise of the level from one frame to the next that counts as an attack: 6 dB, in the code's units of 3
nepers."""

_EXTREMES = 0.05
"""The share of the bank that is quieter, and the share that is louder, than any new sound."""

_MARGIN = 0.023
"""The distance that levels keep from these extremes, in nepers of power (0.1 dB): as much as a decoded sound
differs from its latents."""

_QUIETEST = 1e-16
"""The energy below which a sound counts as silent."""


@frozen(kw_only=True, eq=False)
class Statistics:
    """What new sounds have of all recordings of a bank, on the CPU.

    Attributes:
        levels: the standard deviations of band levels `[Q]`, relative to the overall level.
        shapes: those of shape numbers `[Q, K]`.
        lowest: the lowest loudness of a new sound, in nepers of mean power per band.
        highest: the highest one.
    """

    levels: Tensor
    shapes: Tensor
    lowest: float
    highest: float


@torch.no_grad()
def statistics_of(vae: VAE, bank: Sequence[Tensor], *, filled: Sequence[float] | None = None) -> Statistics:
    """Return the statistics of a bank of rich codes `[C, D, S]`.

    `filled` is how much of its frames each recording fills, so that the silence after a short recording does
    not count.
    """
    levels, shapes = _deviations(vae, bank)
    lowest, highest = _limits(vae, bank, filled or [1.0] * len(bank))
    return Statistics(levels=levels.cpu(), shapes=shapes.cpu(), lowest=lowest, highest=highest)


def mix(
    vae: VAE,
    pair: Sequence[Tensor],
    bank: Statistics,
    *,
    length: int,
    temperature: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Mix a pair of rich codes `[C, D, S]`.

    Low bands come from one of the two, high bands from the other, and the crossover frequency changes over
    the length of the sound. Thus tones are kept, and the result is neither the mean of the two nor a copy of
    one. Both are resized to the new length, the shapes of a shorter one between its attacks (`lengthened`).
    Levels are mixed as powers, so that silence in one does not silence the other. Then levels and shapes
    deviate at random, by 0.3 standard deviations of the bank at a `temperature` of 1; levels deviate along
    smooth curves over frequency. The overall level lies between those of the two, and within the 5th and the
    95th percentile of the bank.

    Returns:
        The code `[C, D, length]`, and the part `[Q, length]` of the second of the pair in each band.
    """
    device, amplitude = vae.device, vae.levels.amplitude

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    mixture = _mixture(vae, length, generator).to(device)
    level_a, level_b = (vae.bands_of(stretched(each, length))[0] for each in pair)
    shape_a, shape_b = (vae.bands_of(_fitted(each, length))[1] for each in pair)
    power = torch.lerp(amplitude(level_a).square(), amplitude(level_b).square(), mixture)
    shapes = torch.lerp(shape_a, shape_b, mixture[..., None])

    level_deviation, shape_deviation = bank.levels.to(device), bank.shapes.to(device)
    turns = max(2, length // _TURN)
    curves = _resized(drawn(_CURVE, turns), vae.bands, length) * level_deviation[:, None]
    wander = stretched(drawn(vae.bands, shapes.shape[-1], turns), length).mT
    # Relative to the maximum of the curve, since the exponential overflows at a high temperature.
    wandered = power * torch.exp(2 * _WANDER * temperature * (curves - curves.amax(dim=0)))
    shapes = shapes + _WANDER * temperature * wander * shape_deviation[:, None]
    # The random deviation does not change the overall power of a frame.
    wandered = wandered * ((power.sum(1) + _QUIETEST) / (wandered.sum(1) + _QUIETEST))[:, None]

    ends = torch.stack([_loudness(vae, each) for each in pair])
    wanted = torch.lerp(ends[0], ends[1], mixture.mean()).clamp(bank.lowest, bank.highest)
    gain = wanted.exp() / (wandered.mean() + _QUIETEST)
    levels = torch.log1p((wandered * gain).sqrt() / vae.levels.floor)
    return vae.from_bands(levels, shapes), mixture.cpu()


def _mixture(vae: VAE, length: int, generator: torch.Generator) -> Tensor:
    """Return the part `[Q, length]` of the second recording, which has either the low or the high bands."""
    numbers = torch.tensor(vae.code.counts).cumsum(0)
    places = numbers / numbers[-1].clamp(min=1)
    low, high = _CROSSINGS
    ends = low + (high - low) * torch.rand(2, generator=generator)
    crossing = torch.lerp(ends[0], ends[1], torch.linspace(0, 1, length))
    side = 1 - 2 * torch.randint(2, (), generator=generator)
    return torch.sigmoid(side * _SHARPNESS * (places[:, None] - crossing))


def _deviations(vae: VAE, bank: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the standard deviations over the bank of band levels `[Q]` and of shapes `[Q, K]`.

    Band levels are relative to the overall level. Silent frames are left out.
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


def _loudness(vae: VAE, code: Tensor) -> Tensor:
    """Return the logarithm of the mean power per band of a rich code `[C, D, S]`."""
    total = vae.code.total(code[:, 0])  # exact also for a smaller code, whose band levels are not
    return (vae.levels.amplitude(total).square().mean() + _QUIETEST).log()


def _limits(vae: VAE, bank: Sequence[Tensor], filled: Sequence[float]) -> tuple[float, float]:
    """Return the lowest and the highest level of a new sound: the logarithm of the mean power per band."""
    levels = torch.stack([_loudness(vae, each) for each in bank]).cpu() - torch.tensor(filled).log()
    low, high = levels.quantile(torch.tensor([_EXTREMES, 1 - _EXTREMES])).tolist()
    margin = min(_MARGIN, (high - low) / 2)
    return low + margin, high - margin


def _fitted(code: Tensor, length: int) -> Tensor:
    """Resize a rich code `[C, D, S]` to another length, without repeating the shapes of its attacks."""
    return stretched(code, length) if code.shape[-1] > length else lengthened(code, length)


def lengthened(code: Tensor, length: int) -> Tensor:
    """Lengthen a rich code `[C, D, S]`, without repeating the shapes of its attacks.

    The shape of a frame with an attack has the attack, and so has every frame that is interpolated from it.
    So the steps to and from such frames keep their length, and others grow, as in time stretching that
    preserves transients (Duxbury, Davies and Sandler, 2002). The last frame is left out if there are others
    besides an attack, since the recording ends in it. The frame before is held.
    """
    if code.shape[-1] == length:
        return code
    code = code[..., : max(min(2, code.shape[-1]), code.shape[-1] - 1)]
    missing = length - code.shape[-1]
    attack = torch.cat([torch.tensor([True]), (code[:, 0].amax(dim=0).diff() > _ATTACK).cpu()])
    free = ~(attack | torch.cat([attack[1:], torch.tensor([False])]))
    steps = torch.ones(len(attack), dtype=torch.float64)
    steps[free] += missing / max(1, int(free.sum()))
    times = torch.cat([torch.zeros(1, dtype=torch.float64), steps.cumsum(0)])
    wanted = torch.arange(length, dtype=torch.float64)
    after = torch.searchsorted(times, wanted, right=True).clamp(1, len(times) - 1)
    share = ((wanted - times[after - 1]) / (times[after] - times[after - 1])).clamp(max=1)
    held = torch.cat([code, code[..., -1:]], dim=-1)
    return torch.lerp(held[..., after - 1], held[..., after], share.to(code))


def _resized(grid: Tensor, bands: int, length: int) -> Tensor:
    """Resize a grid to `[bands, length]` by bilinear interpolation."""
    return F.interpolate(grid[None, None], size=(bands, length), mode="bilinear", align_corners=True)[0, 0]


def stretched(code: Tensor, length: int) -> Tensor:
    """Resize a rich code `[C, D, S]` to another length by linear interpolation."""
    return F.interpolate(code, size=length, mode="linear", align_corners=True)

"""Data augmentation: change of speed, mixing of clips, and change of level.

Shapes: `B` clips, `N` samples.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


def drawn_samples(samples: int, speed: float) -> int:
    """Return the length of the clips that `augment` needs to return clips of `samples`."""
    return math.ceil(_fast_length(samples) * (1 + speed)) if speed else samples


def augment(
    clips: Tensor,
    samples: int,
    *,
    speed: float,
    gain_db: float,
    mix: float,
    generator: torch.Generator,
    rows: Sequence[int] | None = None,
    of: int | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Change the speed of clips `[B, N]`, mix them with each other and change their level.

    A part of each clip is resampled to a speed, and thus pitch, between `1 / (1 + speed)` and `1 + speed`,
    uniform on a logarithmic scale. With probability `mix`, the preceding clip is added at up to its full
    level. Then the level changes by up to `gain_db` in either direction, uniformly in dB. Clips that exceed
    full scale are scaled down to it.

    Args:
        clips: the clips, on the CPU, with N = `drawn_samples(samples, speed)`.
        samples: the length of the returned clips.
        speed: the bound of the change of speed.
        gain_db: the bound of the change of level, in dB.
        mix: the probability that another clip is added.
        generator: the random generator, on the CPU.
        rows: the rows of the whole batch that `clips` are. They are augmented as in the whole batch, except
            that the last of them is the one added to the first.
        of: the size of the whole batch, if `clips` are part of one.
        device: the device of the returned clips, by default the CPU. Only the speed is changed on the CPU.

    Returns:
        The augmented clips `[B, samples]`.
    """
    drawn = torch.rand(5, of or len(clips), 1, generator=generator)
    drawn = drawn if rows is None else drawn[:, list(rows)]
    turn, place, *_ = drawn
    if speed:
        whole = _fast_length(samples)
        lengths = [_fast_length(whole * (1 + speed) ** (2 * t - 1)) for t in turn[:, 0].tolist()]
        lengths = [min(length, clips.shape[-1]) for length in lengths]
        starts = [
            int(p * (clips.shape[-1] - length + 1))
            for p, length in zip(place[:, 0].tolist(), lengths, strict=True)
        ]
        parts = [
            clip[start : start + length] for clip, start, length in zip(clips, starts, lengths, strict=True)
        ]
        clips = _resample(parts, whole)[:, :samples]
    if device is not None:
        clips, drawn = moved(clips, device), moved(drawn, device)
    *_, chance, amount, level = drawn
    if mix:
        clips = clips + (chance < mix) * amount * clips.roll(1, dims=0)
    louder = clips * 10 ** ((2 * level - 1) * gain_db / 20)
    # `aminmax` of a dimension takes six times as long as both.
    highest, lowest = louder.amax(dim=1, keepdim=True), louder.amin(dim=1, keepdim=True)
    return louder.div_(torch.maximum(highest, -lowest).clamp(min=1))


def moved(batch: Tensor, device: torch.device) -> Tensor:
    """Return a batch on a device, to which CUDA copies it while the host goes on."""
    # Only copies from pinned memory to CUDA are asynchronous.
    batch = batch.pin_memory() if device.type == "cuda" and batch.device.type == "cpu" else batch
    return batch.to(device, non_blocking=True)


def _resample(clips: list[Tensor], samples: int) -> Tensor:
    """Resample clips `[N]` to one number of samples by cropping or zero-padding their spectra.

    A filter with a transition band would leave the uppermost bins of every clip empty, and the model would
    learn that they are.
    """
    spectra = torch.zeros(len(clips), samples // 2 + 1, dtype=torch.complex64)
    for clip, place in zip(clips, spectra, strict=True):
        spectrum = torch.fft.rfft(clip, norm="forward")[: len(place)]
        place[: len(spectrum)] = spectrum
    return torch.fft.irfft(spectra, n=samples, norm="forward")


def _fast_length(samples: float) -> int:
    """Return the smallest length not below `samples` that has no prime factor above 5.

    The FFT of other lengths may take several times as long.
    """
    lengths = _fast_lengths(2 ** math.ceil(math.log2(max(samples, 1))))
    return lengths[bisect_left(lengths, samples)]


@lru_cache
def _fast_lengths(longest: int) -> list[int]:
    exponents = range(longest.bit_length())
    products = (2**i * 3**j * 5**k for i in exponents for j in exponents for k in exponents)
    return sorted(product for product in products if product <= longest)

"""Initialization of the axes of a small code to the principal axes of a corpus.

Shapes: `B` batch, `C` numbers in a frame of the rich code without its overall level, `S` frames of it.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.config.settings import STRIDE
from distill.model.axes import CodeStatistics
from distill.model.code import BAND
from distill.model.spread import audible
from distill.model.vae import VAE
from distill.spectral.representation import MagnitudeIF

_HEARD = 2.3
"""Frames this far below the loudest count as inaudible: 60 dB, in the code's units of 3 nepers."""

_WINDOW = 32
"""The frames of the rich code in a window, 3 s: much longer than a latent frame, so that few pairs of frames
are missed at the ends of windows."""

_PROJECTIONS = 4
"""The number of random projections that estimate the importance of the code's numbers."""

_DIFFERENTIATED, _DIFFERENTIATED_AT_A_TIME = 32, 4
"""The examples whose first frames these differentiate, and how many of them at a time."""

_AT_A_TIME = 16
"""The batch size for encoding hundreds of examples, whose activations would need gigabytes together."""


def windows(vae: VAE, representation: MagnitudeIF, waveform: Tensor) -> Tensor:
    """Return spectrograms `[B, 2, F, T]` of a waveform `[N]`, cut into windows of about 3 s.

    The windows are aligned with the beginning of the waveform, as its latents are.
    """
    frames = _WINDOW * STRIDE
    samples = frames * representation.hop
    rows = F.pad(waveform, (0, -len(waveform) % samples)).view(-1, samples)
    return representation(rows.to(vae.device))[..., :frames]


@torch.no_grad()
def initialize_axes(
    vae: VAE, spectrograms: Tensor | Iterable[Tensor], prior: CodeStatistics | None = None
) -> None:
    """Initialize the axes of a small code to its principal axes over spectrograms `[B, 2, F, T]`.

    These may be given in several batches, one after the other, which are not held together. `prior` has the
    statistics of the rich code for sounds in general, which count as much as the spectrograms. Without axes,
    or with axes that are initialized already, nothing changes.
    """
    if vae.axes is None or vae.axes.begun:
        return
    level, codes = _encoded(vae, spectrograms)
    statistics = _statistics(level, codes, vae.code.joint)
    if prior is not None:
        statistics = statistics.mixed(prior)
    some = slice(None, None, -(-len(codes) // _DIFFERENTIATED)), slice(None), slice(STRIDE)
    vae.axes.begin_with(statistics, importance_of(vae, level[some], codes[some]))


@torch.no_grad()
def code_statistics(vae: VAE, spectrograms: Tensor | Iterable[Tensor], lags: int) -> CodeStatistics:
    """Return the statistics of the rich code over spectrograms `[B, 2, F, T]`, where they are audible.

    Covariances are those of frames 0 to `lags` - 1 apart.
    """
    return _statistics(*_encoded(vae, spectrograms), lags)


def _statistics(level: Tensor, codes: Tensor, lags: int) -> CodeStatistics:
    """Return the statistics of codes `[B, C, S]`, in frames that are audible beside the loudest one."""
    return CodeStatistics.of(codes.mT, level[:, 0] > level.amax() - _HEARD, lags)


def _encoded(vae: VAE, spectrograms: Tensor | Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Return the levels `[B, 1, S]` and the rest `[B, C, S]` of the rich code of many spectrograms."""
    batches = [spectrograms] if isinstance(spectrograms, Tensor) else spectrograms
    parts = [vae.encode_rich(part)[:2] for batch in batches for part in batch.split(_AT_A_TIME)]
    level, codes = (torch.cat(each) for each in zip(*parts, strict=True))
    return level, codes


@torch.enable_grad()
def importance_of(vae: VAE, level: Tensor, codes: Tensor) -> Tensor:
    """Return the importance `[C]` of each number of rich codes `[B, C, S]` for the audible output.

    The importance is the root mean square of the derivatives of audible log-magnitudes, with bins weighted by
    the square root of the ERB density. It is estimated by random projections (Hutchinson, 1989).
    """
    generator = torch.Generator().manual_seed(0)
    squares = torch.zeros_like(codes[0, :, 0])
    cells = len(codes), BAND * vae.bands, STRIDE * codes.shape[-1]
    for _ in range(_PROJECTIONS):
        directions = torch.randn(cells, generator=generator)
        parts = (each.split(_DIFFERENTIATED_AT_A_TIME) for each in (level, codes, directions))
        gradients = [_projected_gradient(vae, *part) for part in zip(*parts, strict=True)]
        squares += torch.cat(gradients).square().mean((0, 2))
    return squares.sqrt()


def _projected_gradient(vae: VAE, level: Tensor, codes: Tensor, directions: Tensor) -> Tensor:
    """Return the gradient `[B, C, S]` of the audible output projected on `directions`."""
    codes = codes.detach().requires_grad_()
    amplitude = vae.levels.amplitude(vae.decode_bands(*vae.code.part(level, codes)).log_magnitude)
    heard = audible(amplitude.detach(), vae.levels.floor)
    projected = (vae.hearing * directions.to(vae.device) * torch.log(amplitude + heard)).sum()
    (gradient,) = torch.autograd.grad(projected, [codes])
    return gradient

"""Directions of the rich code in which the recordings of a run differ.

Shapes: `C` channels, `R` numbers per frame of the rich code, `S` frames, `Q` bands, `P` pieces, `A` axes.
"""

import math
from collections.abc import Callable, MutableMapping, Sequence

import torch
from attrs import frozen
from torch import Tensor

from distill.config.settings import STRIDE
from distill.controls.descriptors import DESCRIPTORS, brightness, noisiness
from distill.model.sounds import Encoded, code_of, log_magnitude, noise_for
from distill.model.vae import VAE
from distill.spectral.representation import MagnitudeIF

MOST_AXES = 6
_LEAST_SHARE = 0.01
"""The most principal axes, and the least share of the variance that each has."""

_PIECE_SECONDS = 1.0
_MOST_PIECES, _MOST_DECODED = 2000, 96
_FEWEST_PIECES, _NOISIEST = 4, 0.1
"""Recordings are cut into pieces, so that few long ones are as good as many short ones; some are decoded.
The noisiest tenth of these has the shapes of noise."""

RANGE = 6.9 / 3
"""Frames this far below the loudest count as silence: 60 dB, in the code's units of 3 nepers."""


@frozen(kw_only=True, eq=False)
class Directions:
    """Directions of the rich code.

    Attributes:
        principal: the principal axes `[A, R]` of the means of pieces, each one standard deviation long. They
            leave the overall level alone.
        shares: the share of the variance that each of these has `[A]`.
        tilt: the change of band levels `[Q]` per octave of brightness, in nepers, or None if the pieces do
            not differ in brightness.
        noisy: the mean code `[R]` of the noisiest pieces, or None likewise.
    """

    principal: Tensor
    shares: Tensor
    tilt: Tensor | None
    noisy: Tensor | None


def heard(code: Tensor) -> Tensor:
    """Return which frames `[C, S]` of a rich code `[C, R, S]` are audible beside the loudest one."""
    level = code[:, 0]
    return level >= level.amax() - RANGE


@torch.no_grad()
def find_directions(
    vae: VAE,
    representation: MagnitudeIF,
    bank: Sequence[Encoded],
    on_progress: Callable[[int, int], None] = lambda *_: None,
) -> Directions:
    """Find the directions in which the codes of recordings differ.

    `on_progress` is called with the number of pieces that were measured, and their total.
    """
    pieces = _pieces([code_of(vae, representation, each).cpu() for each in bank], representation)
    means = torch.stack([_mean(piece) for piece in pieces]).double()
    principal, shares = _principal(means - means.mean(0))
    some = torch.linspace(0, len(pieces) - 1, min(len(pieces), _MOST_DECODED)).round().long().unique()
    rate, measured = representation.sample_rate, []
    noises: dict[int, Tensor] = {}
    for done, index in enumerate(some.tolist()):
        on_progress(done, len(some))
        power = _power(vae, representation, pieces[index], noises)
        measured.append([brightness(power, rate), noisiness(power, rate)])
    bright, noise = torch.tensor(measured, dtype=torch.float64).T
    levels = torch.stack([_levels(vae, pieces[index]) for index in some.tolist()]).double()
    tilt = _slope(levels - levels.mean(1, keepdim=True), bright, DESCRIPTORS["brightness"].noticeable)
    noisy = None
    if _varies(noise, DESCRIPTORS["noisiness"].noticeable):
        noisiest = noise.argsort(descending=True)[: max(1, round(_NOISIEST * len(noise)))]
        noisy = torch.cat([_heard(pieces[some[index]]) for index in noisiest.tolist()]).mean(0)
    return Directions(
        principal=principal.float(),
        shares=shares.float(),
        tilt=None if tilt is None else tilt.float(),
        noisy=noisy,
    )


def _pieces(codes: Sequence[Tensor], representation: MagnitudeIF) -> list[Tensor]:
    """Cut codes into pieces `[C, R, S]` of about a second, at most 2000 of them, evenly from all."""
    length = max(1, round(_PIECE_SECONDS * representation.sample_rate / representation.hop / STRIDE))
    pieces = [
        piece
        for code in codes
        for piece in code.split(length, dim=-1)
        if float(piece[:, 0].amax()) >= float(code[:, 0].amax()) - RANGE
    ]
    return pieces[:: -(-len(pieces) // _MOST_PIECES)]


def _mean(code: Tensor) -> Tensor:
    """Return the mean `[R]` over the audible frames of a code `[C, R, S]`."""
    return _heard(code).mean(0)


def _heard(code: Tensor) -> Tensor:
    """Return the audible frames `[N, R]` of a code `[C, R, S]`."""
    return code.mT[heard(code)]


def _varies(descriptor: Tensor, noticeable: float) -> bool:
    """Return whether a descriptor `[P]` differs noticeably from piece to piece."""
    return len(descriptor) >= _FEWEST_PIECES and float(descriptor.std(correction=0)) >= noticeable


def _levels(vae: VAE, code: Tensor) -> Tensor:
    """Return the mean levels `[Q]` of bands, in nepers, over the audible frames."""
    levels = vae.bands_of(code.to(vae.device))[0].cpu()
    return levels.mT[heard(code)].mean(0)


def _power(
    vae: VAE, representation: MagnitudeIF, code: Tensor, noises: MutableMapping[int, Tensor]
) -> Tensor:
    """Return the decoded power spectrogram `[F, T]` of the first channel.

    `noises` keeps the noise by its length, which most pieces have in common.
    """
    mono = Encoded.mono(vae.reduce(code[:1].to(vae.device))[0], representation.bins)
    frames = code.shape[-1]
    if frames not in noises:
        samples = representation.samples(frames * STRIDE)
        noises[frames] = noise_for(vae, representation, mono.latents, samples, mono.coherence)
    return representation.amplitude(log_magnitude(vae, mono.latents, noises[frames])).square().sum(0)


def _principal(centred: Tensor) -> tuple[Tensor, Tensor]:
    """Return the principal axes `[A, R]` of centred means `[P, R]` without their levels, and their shares."""
    timbre = centred.clone()
    timbre[:, 0] = 0
    _, sizes, axes = torch.linalg.svd(timbre, full_matrices=False)
    shares = sizes.square() / sizes.square().sum().clamp(min=1e-12)
    kept = int((shares[:MOST_AXES] >= _LEAST_SHARE).sum())
    axes, sizes = axes[:kept], sizes[:kept]
    # The sign of a singular vector is arbitrary.
    axes = axes * axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
    return axes * (sizes / math.sqrt(len(centred)))[:, None], shares[:kept]


def _slope(values: Tensor, descriptor: Tensor, noticeable: float) -> Tensor | None:
    """Return the regression `[K]` of values `[P, K]` on a descriptor `[P]`, or None if it hardly varies.

    The regression of the latents on the descriptor says how sounds that differ in it differ. The weights of
    the inverse regression, which predict it, would not (Haufe et al., 2014).
    """
    if not _varies(descriptor, noticeable):
        return None
    deviation = descriptor - descriptor.mean()
    return deviation @ (values - values.mean(0)) / deviation.square().sum()

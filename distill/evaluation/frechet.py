"""The Fréchet distance between the spectra of all originals and those of all reconstructions.

Shapes: `N` samples of one signal, `T` frames, `D` features. Full scale is 1.
"""

import math

import torch
from torch import Tensor

from distill.evaluation.hearing import mel_powers
from distill.spectral.metrics import is_silent

FEWEST_FRAMES = 400
"""The number of frames below which there is no distance: ten for each feature."""

_COEFFICIENTS = 20
_RANGE = 1e-8
_SILENCE = 512.0**2
"""The power of a full-scale sine at an FFT of 2048 samples with a Hann window."""


class FrechetDistance:
    """Measure how far the frames of reconstructions are from those of originals, as two normal distributions.

    The features of a frame are 20 cepstral coefficients of its powers in 80 mel bands in dB, scaled such that
    a change of all bands by 1 dB is 1, and their differences to the frame before. The distance is the square
    root of `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))` (Dowson and Landau, 1982), `m` and `C` being means
    and covariances: 0 if both sets have the same, and in dB.
    """

    def __init__(self) -> None:
        self._sets = _Moments(), _Moments()

    def add(self, reconstruction: Tensor, original: Tensor, sample_rate: int) -> None:
        """Add the frames of an original `[N]` and of its reconstruction `[N]`.

        The powers of both have a floor 80 dB below the original's loudest band.
        """
        powers = [mel_powers(signal, sample_rate) for signal in (reconstruction, original)]
        floor = _RANGE * (_SILENCE if is_silent(original) else float(powers[1].amax()))
        for moments, power in zip(self._sets, powers, strict=True):
            moments.add(_features(10 * power.clamp(min=floor).log10()))

    @property
    def frames(self) -> int:
        """The number of frames of the originals."""
        return self._sets[1].count

    @property
    def value(self) -> float | None:
        """The distance in dB, or None for fewer than 400 frames."""
        return None if self.frames < FEWEST_FRAMES else frechet_distance(*self._gaussians())

    def _gaussians(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        (mean, covariance), (other_mean, other_covariance) = (moments.gaussian() for moments in self._sets)
        return mean, covariance, other_mean, other_covariance


def frechet_distance(mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor) -> float:
    """Return the Fréchet distance of two normal distributions with means `[D]` and covariances `[D, D]`.

    This is the square root of the value that Heusel et al. (2017) call the Fréchet Inception Distance.
    """
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.mT
    # The eigenvalues of C1^(1/2) C2 C1^(1/2) are those of C1 C2, but of a symmetric matrix.
    common = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    square = (mean - other_mean).square().sum() + covariance.trace() + other_covariance.trace() - 2 * common
    return math.sqrt(max(0.0, float(square)))


class _Moments:
    """The number of vectors `[D]`, their sum, and the sum of their outer products."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: Tensor | float = 0.0
        self._products: Tensor | float = 0.0

    def add(self, vectors: Tensor) -> None:
        """Add vectors `[T, D]`."""
        self.count += len(vectors)
        self._sum = self._sum + vectors.sum(dim=0)
        self._products = self._products + vectors.mT @ vectors

    def gaussian(self) -> tuple[Tensor, Tensor]:
        """Return the mean `[D]` and the covariance `[D, D]`."""
        mean = torch.as_tensor(self._sum) / self.count
        return mean, torch.as_tensor(self._products) / self.count - torch.outer(mean, mean)


def _features(levels: Tensor) -> Tensor:
    """Return the cepstral coefficients of levels `[T, bands]` and their differences in time, `[T - 1, D]`."""
    bands = levels.shape[1]
    positions = (torch.arange(bands, dtype=torch.float64) + 0.5) / bands
    orders = torch.arange(min(_COEFFICIENTS, bands), dtype=torch.float64)
    basis = (math.pi * orders[:, None] * positions).cos() / bands
    basis[1:] *= math.sqrt(2)
    cepstra = levels @ basis.mT
    return torch.cat([cepstra[1:], cepstra.diff(dim=0)], dim=1)

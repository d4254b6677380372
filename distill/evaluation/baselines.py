"""Baselines: simple reconstructions with which a model is compared.

Shapes: `C` channels, `N` samples, `F` bins, `T` frames, `K` principal directions.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from attrs import frozen
from torch import Tensor

from distill.audio.corpus import Split, Stream
from distill.errors import RunError
from distill.model import VAE
from distill.model.loading import require_finite
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import load_state, save_state
from distill.storage.run import Run

Answer = Callable[[Tensor], Tensor]
"""Maps a waveform `[C, N]` to another one of the same shape."""

_SECONDS = 600.0
"""The length of the audio analysed, summed over channels."""

_PIECE_SECONDS = 30.0
_AUDIBLE = 1.0
"""A frame is audible if its loudest bin exceeds this log-magnitude: nepers above the floor."""

_MOST_BINS = 2049
"""The number of bins up to which the covariance is decomposed. Larger ones would take minutes."""

_MOST_FRAMES = 2048
"""The number of frames from which the directions are computed if there are more bins."""


@frozen(eq=False)
class Statistics:
    """The statistics of the training recordings that baselines use.

    `mean_frame` `[2, F]` is the mean of the audible frames, log-magnitude and IF. `directions` `[F, K]` are
    the orthonormal principal directions of the log-magnitude.
    """

    mean_frame: Tensor
    directions: Tensor


def save_statistics(run: Run, statistics: Statistics) -> None:
    """Save statistics in a run folder, for `load_statistics`.

    Raises:
        RunError: the file cannot be written.
        TrainingError: a statistic is not finite. Nothing is written.
    """
    values = {"mean_frame": statistics.mean_frame, "directions": statistics.directions}
    require_finite(values, run.baselines)
    save_state(run.baselines, values)


def load_statistics(run: Run, bins: int) -> Statistics | None:
    """Load the statistics of a run of `bins` bins, or return None if it has none, as in older versions.

    Raises:
        RunError: the file is damaged, or holds something else.
    """
    if not run.baselines.exists():
        return None
    state = load_state(run.baselines)
    mean, directions = state.get("mean_frame"), state.get("directions")
    if (
        isinstance(mean, Tensor)
        and isinstance(directions, Tensor)
        and mean.shape == (2, bins)
        and directions.ndim == 2
        and len(directions) == bins
        and all(value.is_floating_point() and value.isfinite().all() for value in (mean, directions))
    ):
        return Statistics(mean_frame=mean, directions=directions)
    raise RunError(
        "does not hold the statistics of recordings in the representation of the recipe",
        culprit=str(run.baselines),
        remedy="Restore it from a copy, or remove it: then they are not measured.",
    )


def components_per_frame(vae: VAE) -> int:
    """Return the model's numbers per frame, rounded, at least 1."""
    return max(1, round(vae.latent_size / vae.stride))


def measure_recordings(split: Split | Stream, representation: MagnitudeIF, components: int) -> Statistics:
    """Return the mean frame of recordings, and the first `components` principal directions of their frames.

    At most ten minutes are analysed, summed over channels. Long recordings are cut, so that all recordings
    contribute. Principal directions (Hotelling, 1933) are the eigenvectors of the frames' covariance. For
    more than 2049 bins, they are derived from the inner products of at most 2048 evenly spaced frames.
    """
    bins = representation.bins
    lengths = [recording.samples * recording.channels for recording in split.recordings]
    limit = _share(lengths, _SECONDS * split.sample_rate)
    samples = sum(min(length, limit) for length in lengths)
    step = math.ceil(samples / representation.hop / _MOST_FRAMES)
    count = 0
    total = torch.zeros(2, bins, dtype=torch.float64)
    products = torch.zeros(bins, bins, dtype=torch.float64) if bins <= _MOST_BINS else None
    rows: list[Tensor] = []
    for frames in _audible_frames(split, representation, limit):
        total += frames.sum(dim=0)
        if products is None:
            rows.append(frames[-count % step :: step, 0])
        else:
            products.addmm_(frames[:, 0].T, frames[:, 0])
        count += len(frames)
    mean = total / max(count, 1)
    if products is None:
        directions = _from_rows(torch.cat(rows) - mean[0], components)
    else:
        covariance = products / max(count, 1) - torch.outer(mean[0], mean[0])
        directions = torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, :components]
    return Statistics(mean.float(), directions.float().contiguous())


def silence(waveform: Tensor) -> Tensor:
    """Return silence of the shape of a waveform `[C, N]`. A model that is not better has learnt nothing."""
    return torch.zeros_like(waveform)


def mean_spectrum_baseline(mean_frame: Tensor, representation: MagnitudeIF) -> Answer:
    """Return a baseline that reconstructs any waveform `[C, N]` as one constant frame.

    `mean_frame` `[2, F]` is the mean of each bin's log-magnitude and IF over the training corpus.
    """

    def reconstruct(waveform: Tensor) -> Tensor:
        channels, samples = waveform.shape
        spectrogram = mean_frame[:, :, None].expand(channels, -1, -1, representation.frames(samples))
        return representation.inverse(spectrogram, samples)

    return reconstruct


def linear_code(statistics: Statistics, vae: VAE, representation: MagnitudeIF) -> Answer:
    """Return a baseline that keeps K principal components of each frame's log-magnitude of `[C, N]`.

    Phases are reconstructed by `vae.render`, as the model does. A model that uses the IF instead gets that of
    the mean frame.
    """
    mean, directions = statistics.mean_frame, statistics.directions

    def reconstruct(waveform: Tensor) -> Tensor:
        magnitude = representation(waveform)[:, 0].mT
        coded = mean[0] + (magnitude - mean[0]) @ directions @ directions.T
        spectrogram = torch.stack([coded.clamp(min=0), mean[1].expand_as(coded)], dim=1).mT
        return vae.render(spectrogram, representation, waveform.shape[-1])

    return reconstruct


def ceiling(vae: VAE, representation: MagnitudeIF) -> Answer:
    """Return a baseline that keeps the original magnitudes of a waveform `[C, N]`.

    Phases are reconstructed by `vae.render`, as the model does; a model that uses the IF instead gets that of
    the original. No model that encodes only magnitudes can be better.
    """

    def reconstruct(waveform: Tensor) -> Tensor:
        return vae.render(representation(waveform), representation, waveform.shape[-1])

    return reconstruct


def _share(lengths: Sequence[int], budget: float) -> int:
    """Return the length to which all must be cut so that their sum does not exceed the budget."""
    for done, length in enumerate(sorted(lengths)):
        allowance = budget / (len(lengths) - done)
        if length > allowance:
            return max(1, int(allowance))
        budget -= length
    return max(lengths, default=1)


def _audible_frames(split: Split | Stream, representation: MagnitudeIF, limit: int) -> Iterator[Tensor]:
    """Yield the audible frames of recordings, float64 `[T, 2, F]`, piece by piece."""
    piece = int(_PIECE_SECONDS * split.sample_rate)
    for recording in split.recordings:
        stop = min(recording.samples, max(1, limit // recording.channels))
        for start in range(0, stop, piece):
            part = split.read(recording, start, min(start + piece, stop))
            frames = representation(part).permute(0, 3, 1, 2).flatten(0, 1)
            yield frames[frames[:, 0].amax(dim=-1) > _AUDIBLE].double()


def _from_rows(centred: Tensor, count: int) -> Tensor:
    """Return the principal directions `[F, count]` of centred rows `[T, F]` with T < F."""
    vectors = torch.linalg.eigh(centred @ centred.T).eigenvectors.flip(1)[:, :count]
    return torch.linalg.qr(centred.T @ vectors).Q

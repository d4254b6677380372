"""Statistics of a run's latents, and a map of its training recordings.

Shapes: `C` channels, `D` numbers per latent frame, `T'` latent frames, `R` recordings.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from attrs import frozen
from numpy.typing import NDArray

from distill.audio.progress import Progress
from distill.model.sounds import Encoded
from distill.reporting.sounds import as_mp3

if TYPE_CHECKING:
    from distill.inference import Model

ACTIVE = 0.01
"""The variance of its mean from which a unit is active (Burda et al., 2016)."""

MOST_POINTS, MOST_PLAYED, _SECONDS = 2000, 48, 1.5


@frozen(kw_only=True, eq=False)
class Point:
    """A recording on the map. `sound` is its beginning as the model makes it, an MP3 file, or None."""

    name: str
    x: float
    y: float
    sound: bytes | None


@frozen(kw_only=True, eq=False)
class Latents:
    """Statistics of the latents of a run's training recordings.

    Attributes:
        variance: the variance `[D]` of each unit's posterior mean, over frames and recordings.
        divergence: the KL divergence `[D]` of each unit's posterior from a standard normal, in nats, the mean
            over frames of the held-out sounds; None if there are none.
        points: the recordings on the map.
        recordings: the number of recordings.
        explained: the share of the variance between recordings that each axis of the map shows.
        per_second: latent numbers per second of sound and channel.
        levels: the number of units, the first ones, that are levels: measured and not learned, with a
            posterior of fixed width.
    """

    variance: NDArray[np.float64]
    divergence: NDArray[np.float64] | None
    points: tuple[Point, ...]
    recordings: int
    explained: tuple[float, float]
    per_second: float
    levels: int

    @property
    def active(self) -> int:
        """The number of active units."""
        return int((self.variance > ACTIVE).sum())


def measure_latents(
    model: "Model",
    originals: list[torch.Tensor],
    *,
    on_progress: Callable[[Progress], None] | None = None,
) -> Latents | None:
    """Measure the latents of a run's model, and make sounds for its map.

    Args:
        model: the model.
        originals: held-out waveforms `[C, N]` at its sample rate.
        on_progress: called after each sound that is made.

    Returns:
        The statistics, or None if the run has no latents.

    Raises:
        RunError: the latents are missing or damaged.
    """
    bank = model.latents
    if not bank:
        return None
    frames = [each.latents.double().transpose(1, 2).flatten(0, 1).numpy() for each in bank.values()]
    variance = np.var(np.concatenate(frames), axis=0)
    positions, explained = positions_of([*bank.values()])
    names = [*bank]
    step = max(1, math.ceil(len(names) / MOST_POINTS))
    shown = range(0, len(names), step)
    played = shown[:: max(1, math.ceil(len(shown) / MOST_PLAYED))]
    sounds: dict[int, bytes] = {}
    for index in played:
        sounds[index] = _sound(model, bank[names[index]])
        if on_progress is not None:
            on_progress(Progress(stage="map", done=len(sounds), total=len(played), item=names[index]))
    return Latents(
        variance=variance,
        divergence=_divergence(model, originals) if originals else None,
        points=tuple(
            Point(
                name=names[index],
                x=float(positions[index, 0]),
                y=float(positions[index, 1]),
                sound=sounds.get(index),
            )
            for index in shown
        ),
        recordings=len(names),
        explained=explained,
        levels=model.vae.code.joint if model.vae.axes is not None else 1 + model.vae.bands,
        per_second=model.vae.latent_size * model.sample_rate / model.representation.hop / model.vae.stride,
    )


def positions_of(bank: list[Encoded]) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Return positions `[R, 2]`: the first two principal components of the recordings' mean latents."""
    means = np.stack([each.latents.double().mean(dim=(0, 2)).numpy() for each in bank])
    centred = means - means.mean(axis=0)
    left, sizes, _ = np.linalg.svd(centred, full_matrices=False)
    positions = np.zeros((len(bank), 2))
    axes = min(2, len(sizes))
    positions[:, :axes] = left[:, :axes] * sizes[:axes]
    whole = float(np.square(sizes).sum()) or 1.0
    shares = [float(size**2) / whole for size in (*sizes, 0.0, 0.0)[:2]]
    return positions, (shares[0], shares[1])


@torch.no_grad()
def _divergence(model: "Model", originals: list[torch.Tensor]) -> NDArray[np.float64]:
    sums, frames = torch.zeros(model.vae.latent_size, dtype=torch.float64), 0
    for waveform in originals:
        mu, logvar = (
            each.double().cpu() for each in model.vae.encode(model.representation(waveform.to(model.device)))
        )
        sums += 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(dim=(0, 2))
        frames += mu.shape[0] * mu.shape[2]
    return (sums / frames).numpy()


@torch.no_grad()
def _sound(model: "Model", entry: Encoded) -> bytes:
    frame = model.vae.stride * model.representation.hop
    frames = max(1, min(entry.latents.shape[-1], math.ceil(_SECONDS * model.sample_rate / frame)))
    cut = Encoded(entry.latents[:, :, :frames], entry.coherence)
    return as_mp3(model.decode(cut), model.sample_rate)

"""The share of what a training has changed that is kept: the greatest that does no audible harm.

A loss measures less than a listener hears. A training that begins with a model lowers its loss, and may
lose what that model knew of sound, on the recordings that it is given as well as on others. Part of the
way is often better than all or nothing of it. The weights on the line between the two models are from
Wortsman et al., "Robust fine-tuning of zero-shot models" (2022).
"""

from collections.abc import Callable, Mapping

import torch
from attrs import frozen
from torch import Tensor

from distill.audio.corpus import Corpus, Split, Stream
from distill.evaluation import Metrics, evaluate
from distill.model import VAE
from distill.model.sounds import reconstruct
from distill.spectral.representation import MagnitudeIF

_HALVINGS = 4
"""Shares are told apart to a sixteenth."""

_RECORDINGS, _SECONDS = 8, 5
"""Of the held-out recordings, and of those trained on, so many are measured, each at most so long."""

_MEL_WORSE, _TONES_WORSE, _TEXTURE_WORSE = 0.02, 0.01, 0.1
"""By how much a measure may be worse than that of the start: dB, a share, dB. Trainings that differ by
their seed alone differ by as much."""


@frozen(kw_only=True)
class Retention:
    """The share that is kept, and on how many recordings that was judged; 0 where it was asked for."""

    share: float
    recordings: int = 0


def interpolate(vae: VAE, start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> None:
    """Give a model the weights that lie so far on the line from `start` to `end`."""
    vae.load_state_dict(
        {
            name: torch.lerp(start[name].to(last), last, share) if last.is_floating_point() else last
            for name, last in end.items()
        }
    )


def retain(vae: VAE, start: Mapping[str, Tensor], representation: MagnitudeIF, corpus: Corpus) -> Retention:
    """Leave in a trained model the greatest share of what it has learnt that does no audible harm.

    Harm is a mean mel distance, share of tones or texture (`distill.evaluation`) that is worse than with the
    weights of the `start`, be it on held-out recordings or on those that the model was trained on.
    """
    splits = [
        _some(split, corpus.sample_rate) for split in (corpus.heldout, corpus.train) if split.recordings
    ]

    def heard() -> list[Metrics | None]:
        return [
            evaluate(
                lambda waveform: reconstruct(vae, representation, waveform),
                recordings,
                sample_rate=corpus.sample_rate,
            ).mean
            for recordings in splits
        ]

    end = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    interpolate(vae, start, end, 0.0)
    before = heard()

    def harms(share: float) -> bool:
        interpolate(vae, start, end, share)
        return any(
            first is not None and then is not None and _is_worse(then, first)
            for first, then in zip(before, heard(), strict=True)
        )

    share = _greatest_without(harms)
    interpolate(vae, start, end, share)
    return Retention(share=share, recordings=sum(len(recordings) for recordings in splits))


def _some(split: Split | Stream, sample_rate: int) -> list[tuple[str, Tensor]]:
    """Read the first channel of a few recordings, which are spread evenly over all of them."""
    every = -(-len(split.recordings) // _RECORDINGS)
    return [(each.name, split.read(each)[:1, : _SECONDS * sample_rate]) for each in split.recordings[::every]]


def _greatest_without(harms: Callable[[float], bool]) -> float:
    """Return the greatest share, 0..1, that does no harm, by bisection: more of it harms more."""
    if not harms(1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if harms(middle) else (middle, high)
    return low


def _is_worse(after: Metrics, before: Metrics) -> bool:
    losses = [after.mel - before.mel - _MEL_WORSE]
    if after.tones is not None and before.tones is not None:
        losses.append(before.tones - after.tones - _TONES_WORSE)
    roughness = [
        abs(each.texture - each.original_texture)
        for each in (after, before)
        if each.texture is not None and each.original_texture is not None
    ]
    if len(roughness) == 2:
        losses.append(roughness[0] - roughness[1] - _TEXTURE_WORSE)
    return max(losses) > 0

"""The share of what a training has changed that is kept: the greatest that does no audible harm.

A loss measures less than a listener hears. A training that begins with a model lowers its loss, and may
lose what that model knew of sound, on the recordings that it is given as well as on others. Part of the
way is often better than all or nothing of it. The weights on the line between the two models are from
Wortsman et al., "Robust fine-tuning of zero-shot models" (2022).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean, stdev

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

_TOLERANCES = {"mel": 0.02, "tones": 0.01, "texture": 0.1}
"""By how much a measure may be worse than that of the start: dB, a share, dB. Trainings that differ by
their seed alone differ by as much."""


Heard = tuple[Sequence[Metrics | None], Sequence[Metrics | None]]


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

    Harm is a mel distance, share of tones or texture (`distill.evaluation`) that is worse by more than a
    tolerance than with the weights of the `start`: on average over held-out and trained recordings, or on
    held-out recordings alone, there by more than the standard error besides.
    """
    heldout, trained = (_some(split, corpus.sample_rate) for split in (corpus.heldout, corpus.train))

    def heard(recordings: Iterable[tuple[str, Tensor]]) -> list[Metrics | None]:
        found = evaluate(
            lambda waveform: reconstruct(vae, representation, waveform),
            recordings,
            sample_rate=corpus.sample_rate,
        )
        return [result.metrics for result in found.results]

    end = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    interpolate(vae, start, end, 0.0)
    before = heard(heldout), heard(trained)

    def harms(share: float) -> bool:
        interpolate(vae, start, end, share)
        return does_harm((heard(heldout), heard(trained)), before)

    share = _greatest_without(harms)
    interpolate(vae, start, end, share)
    return Retention(share=share, recordings=len(heldout) + len(trained))


def _some(split: Split | Stream, sample_rate: int) -> list[tuple[str, Tensor]]:
    """Read the first channel of a few recordings, which are spread evenly over all of them."""
    every = max(1, -(-len(split.recordings) // _RECORDINGS))
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


def does_harm(after: Heard, before: Heard) -> bool:
    """Tell whether a measure is worse in `after` than in `before`, by `retain`'s rules.

    Each holds the metrics of the held-out recordings, possibly none, and those of the trained ones; None
    stands for a recording that could not be measured.
    """
    heldout, trained = (_losses(*pair) for pair in zip(after, before, strict=True))
    for name, tolerance in _TOLERANCES.items():
        everywhere, unseen = heldout[name] + trained[name], heldout[name]
        if everywhere and fmean(everywhere) > tolerance:
            return True
        if len(unseen) > 1 and fmean(unseen) - stdev(unseen) / math.sqrt(len(unseen)) > tolerance:
            return True
    return False


def _losses(after: Sequence[Metrics | None], before: Sequence[Metrics | None]) -> dict[str, list[float]]:
    """Return by how much each measure of each recording got worse, of those recordings that have it."""
    losses: dict[str, list[float]] = {name: [] for name in _TOLERANCES}
    for new, old in zip(after, before, strict=True):
        if new is None or old is None:
            continue
        losses["mel"].append(new.mel - old.mel)
        if new.tones is not None and old.tones is not None:
            losses["tones"].append(old.tones - new.tones)
        if new.texture is not None and old.texture is not None and old.original_texture is not None:
            goal = old.original_texture
            losses["texture"].append(abs(new.texture - goal) - abs(old.texture - goal))
    return losses

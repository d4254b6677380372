"""The share of what a training run has changed that is kept: the one that sounds best.

A loss measures less than a listener hears. A training run that begins with a model lowers its loss, and may
lose what that model knew of sound, on the recordings that it is given as well as on others. Part of the
way is often better than all or nothing of it. The weights on the line between the two models are from
Wortsman et al., "Robust fine-tuning of zero-shot models" (2022).
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from statistics import fmean, variance

import torch
from attrs import frozen
from torch import Tensor

from distill.audio.corpus import Corpus, Split, Stream
from distill.audio.progress import Progress
from distill.evaluation import Metrics, evaluate_all
from distill.model import VAE
from distill.model.sounds import reconstruct
from distill.spectral.representation import MagnitudeIF

_SHARES = 1.0, 0.75, 0.5, 0.25, 0.125
"""The shares that are tried."""

_RECORDINGS, _SECONDS = 8, 5
"""How many held-out recordings, and how many others, are measured, and the most seconds of each."""

_UNITS = {"mel": 0.02, "tones": 0.01, "texture": 0.1}
"""What counts as one step worse of each measure: dB, a share, dB. Runs that differ by their seed alone
differ by as much."""

Heard = tuple[Sequence[Metrics | None], Sequence[Metrics | None]]


@frozen(kw_only=True)
class Retention:
    """The share that is kept, and on how many recordings that was judged; 0 where it was asked for."""

    share: float
    recordings: int = 0


def interpolate(vae: VAE, start: Mapping[str, Tensor], end: Mapping[str, Tensor], share: float) -> None:
    """Return a model the weights that lie so far on the line from `start` to `end`."""
    vae.load_state_dict(
        {
            name: torch.lerp(start[name].to(last), last, share) if last.is_floating_point() else last
            for name, last in end.items()
        }
    )


def retain(
    vae: VAE,
    start: Mapping[str, Tensor],
    representation: MagnitudeIF,
    corpus: Corpus,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Retention:
    """Leave in a trained model the share of the training with the best measures.

    The mel distance, the share of tones and the texture (`distill.evaluation`) are compared with those of the
    `start`, on held-out recordings and on those that the model was trained on. A share that makes one of them
    worse is not kept; see `score`. `on_progress` is called for each measured recording.
    """
    heldout, trained = (_some(split, corpus.sample_rate) for split in (corpus.heldout, corpus.train))

    total = (1 + len(_SHARES)) * (len(heldout) + len(trained))
    measured = count()

    def heard(recordings: Iterable[tuple[str, Tensor]]) -> list[Metrics | None]:
        (found,) = evaluate_all(
            {"": lambda waveform: reconstruct(vae, representation, waveform)},
            recordings,
            sample_rate=corpus.sample_rate,
            on_progress=lambda _, name: on_progress(
                Progress(stage="keeping", done=next(measured), total=total, item=name)
            ),
        ).values()
        return [result.metrics for result in found.results]

    end = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    interpolate(vae, start, end, 0.0)
    before = heard(heldout), heard(trained)
    scores = {0.0: 0.0}
    for share in _SHARES:
        interpolate(vae, start, end, share)
        scores[share] = score((heard(heldout), heard(trained)), before)
    share = max(scores, key=lambda share: scores[share])
    interpolate(vae, start, end, share)
    return Retention(share=share, recordings=len(heldout) + len(trained))


def _some(split: Split | Stream, sample_rate: int) -> list[tuple[str, Tensor]]:
    """Read the first channel of a few recordings, which are spread evenly over all of them."""
    every = max(1, -(-len(split.recordings) // _RECORDINGS))
    return [
        (each.name, split.read(each, stop=_SECONDS * sample_rate)[:1].clone())
        for each in split.recordings[::every]
    ]


def score(after: Heard, before: Heard) -> float:
    """Return how much better the measures are in `after` than in `before`; minus infinity if one is worse.

    `after` and `before` hold the metrics of the held-out recordings, possibly none, and those of the
    trained ones. None stands for a recording that could not be measured. The change of a measure is the
    mean over held-out recordings averaged with that over trained ones. The score is the sum of the
    changes, each in units of what a seed changes. A measure is worse if its change is worse by more than a
    unit, or if held-out recordings are worse by more than a unit and their standard error. The standard
    deviation is that within both sets together, since few recordings are held out.
    """
    heldout, trained = (_losses(*pair) for pair in zip(after, before, strict=True))
    total = 0.0
    for name, unit in _UNITS.items():
        unseen = heldout[name]
        means = [fmean(each) for each in (unseen, trained[name]) if each]
        change = fmean(means) if means else 0.0
        error = _deviation(unseen, trained[name]) / math.sqrt(max(1, len(unseen)))
        if change > unit or (unseen and fmean(unseen) - error > unit):
            return -math.inf
        total -= change / unit
    return total


def _deviation(*sets: Sequence[float]) -> float:
    """Return the pooled standard deviation of sets about their means; infinity if no set has two values."""
    some = [each for each in sets if len(each) > 1]
    freedom = sum(len(each) - 1 for each in some)
    squares = sum((len(each) - 1) * variance(each) for each in some)
    return math.sqrt(squares / freedom) if freedom else math.inf


def _losses(after: Sequence[Metrics | None], before: Sequence[Metrics | None]) -> dict[str, list[float]]:
    """Return by how much each measure of each recording got worse, of those recordings that have it."""
    losses: dict[str, list[float]] = {name: [] for name in _UNITS}
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

"""How much of what a training has changed is kept: as much as recordings that it never saw bear.

A loss hears less than a listener does. A training that begins with a model follows it away from what
that model has learnt of sound, on the recordings it is given as on others; part of the way is often
better than all of it, and than none (Wortsman et al., "Robust fine-tuning of zero-shot models", 2022,
from which the line between the weights is).
"""

from collections.abc import Callable, Mapping

import torch
from attrs import frozen
from torch import Tensor

from distill.corpus import Corpus
from distill.evaluation import Metrics, evaluate
from distill.model import VAE
from distill.representation import MagnitudeIF
from distill.sounds import reconstruct

_HALVINGS = 4
"""Shares are told apart to a sixteenth."""

_RECORDINGS, _SECONDS = 8, 5

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
    """Leave in a trained model the greatest share of what it has learnt that is not heard to do harm.

    Harm is a mel distance, a share of tones or a texture (`distill.evaluation`) that is worse than with
    the weights of the `start`, on held-out recordings or, where there are none, on the trained ones.
    """
    split = corpus.heldout if corpus.heldout.recordings else corpus.train
    longest = _SECONDS * corpus.sample_rate
    recordings = [(each.name, split.read(each)[:1, :longest]) for each in split.recordings[:_RECORDINGS]]

    def heard() -> Metrics | None:
        return evaluate(
            lambda waveform: reconstruct(vae, representation, waveform),
            recordings,
            sample_rate=corpus.sample_rate,
        ).mean

    end = {name: tensor.clone() for name, tensor in vae.state_dict().items()}
    interpolate(vae, start, end, 0.0)
    before = heard()

    def harms(share: float) -> bool:
        interpolate(vae, start, end, share)
        after = heard()
        return before is not None and after is not None and _is_worse(after, before)

    share = _greatest_without(harms)
    interpolate(vae, start, end, share)
    return Retention(share=share, recordings=len(recordings))


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

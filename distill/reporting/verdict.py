"""The verdict on a run in words. Each rule is described in `docs/report.md`. Loads no torch.

A rule takes facts and returns findings. Its numbers are the constants of this file.
"""

import shlex
from collections.abc import Callable, Iterator

import numpy as np
from attrs import evolve

from distill.config.words import are, counted, percentage, whole_percentage
from distill.reporting.findings import FEWEST_MEASUREMENTS, Evidence, Finding, Grade
from distill.reporting.history import Series
from distill.reporting.shares import still_terms, total_that_moves
from distill.reporting.term_rules import judge_terms

FEWEST_STEPS = 100
"""Steps below which a trend is not judged: twice those of the learning rate's warm-up."""

_STRETCHES = 20
"""Stretches into which the records of training are divided where nothing is held out."""

LAST_PART = 1 / 3
"""The part of a run whose trend is judged."""

IMPROVING = 0.01
"""The fall of the loss over the last part, relative to its level, from which a run still improves."""

RISEN = 0.1
"""The rise of the held-out loss above its minimum, relative to its whole fall, that shows overfitting."""

RISEN_OF_LEVEL = 0.01
"""That rise relative to the minimum itself, at the least."""

SCATTER = 4.0
"""That rise relative to the scatter of single measurements, at the least."""

FEW_RECORDINGS = 20
"""Recordings below which a corpus is called small."""

LEVEL_DB = 3.0
"""The change of a recording's level that is named."""

UNUSED = 0.1
"""The share of active units below which latents are called unused."""

LITTLE_KEPT = 0.05
"""The share of the training that is kept below which the run is said to have changed nothing."""


def judge(evidence: Evidence) -> tuple[Finding, ...]:
    """Return the findings on a run: the state first, then the trend, then what is wrong, then notes."""
    found = [finding for rule in _RULES for finding in rule(evidence)]
    first = [each for each in found if each.rule in _FIRST]
    rest = [each for each in found if each.rule not in _FIRST]
    return (*first, *sorted(rest, key=lambda each: _ORDER.index(each.grade)))


def _state(evidence: Evidence) -> Iterator[Finding]:
    step = f"step {evidence.history.step}"
    reached = whole_percentage(evidence.history.progress)
    resume = f"distill train --resume --out {shlex.quote(evidence.folder)}"
    if evidence.state == "failed":
        yield Finding(
            rule="failed",
            grade="bad",
            title="The run has failed",
            because=evidence.message or f"It ended with an error at {step}.",
            advice="Mend the cause, then go on from the last checkpoint:",
            command=resume,
        )
    elif evidence.state == "interrupted":
        yield Finding(
            rule="interrupted",
            grade="warning",
            title="The run was interrupted",
            because=f"Its last record is of {step}, at {reached} of the training.",
            advice="Go on with it:",
            command=resume,
        )
    elif evidence.state == "running":
        yield Finding(
            rule="running",
            grade="note",
            title="The run is still training",
            because=f"Its last record is of {step}, at {reached} of the training.",
        )


def _trend(evidence: Evidence) -> Iterator[Finding]:
    still = still_terms(evidence.history)
    held = total_that_moves(evidence.history.heldout, evidence.history.heldout_weights, still)
    trained = total_that_moves(evidence.history.train, evidence.history.weights, still)
    if trained is None or not len(trained):
        yield Finding(
            rule="no records",
            grade="note",
            title="There are no records yet",
            because="metrics.jsonl holds no component of the loss.",
            advice="Records are written every training.log_every steps.",
        )
        return
    judged, of = (held, "held-out loss") if held is not None else (_stretches(trained), "training loss")
    judged = _only_finite(judged)
    early = _too_early(judged, of)
    if early is not None:
        yield early
        return
    overfits = _overfitting(judged, trained) if held is not None else None
    if overfits is not None:
        yield overfits
        return
    if still:
        of += f" without {' and '.join(still)}, which {'change' if len(still) > 1 else 'changes'} nothing,"
    unseen = "" if held is not None else " Nothing is held out, so learning by heart cannot be seen."
    yield _direction(judged, of, unseen, evidence.folder)


def _too_early(judged: Series, of: str) -> Finding | None:
    """Return a finding if a series has too few values or steps for a trend. `of` is its name."""
    steps = int(judged.steps[-1]) if len(judged) else 0
    if len(judged) < FEWEST_MEASUREMENTS:
        found = f"{are(len(judged))} {counted(len(judged), 'value')} of the {of}"
        fewest, advice = FEWEST_MEASUREMENTS, "Train for longer, or set training.evaluations higher."
    elif steps < FEWEST_STEPS:
        found = f"{are(steps)} {counted(steps, 'step')}"
        fewest, advice = FEWEST_STEPS, "Train for longer."
    else:
        return None
    return Finding(
        rule="too early",
        grade="note",
        title="It is too early for a trend",
        because=f"There {found}, and a trend takes {fewest}.",
        advice=advice,
    )


def _direction(judged: Series, of: str, unseen: str, folder: str) -> Finding:
    """Return whether a series has fallen, risen or stayed over the last part of the run."""
    last = judged.last(LAST_PART)
    fall, spread = _fall(last)
    level = float(np.abs(last.values).mean()) or 1.0
    share = f"{abs(fall) / level:.1%}"
    end = f"over the last third of the run, to {judged.values[-1]:.4g}"
    if fall > IMPROVING * level and fall > 2 * spread:
        return Finding(
            rule="improving",
            grade="note",
            title="Still improving",
            because=f"The {of} has fallen by {share} {end}.{unseen}",
            advice="Train for longer:",
            command=f"distill train --resume --out {shlex.quote(folder)} --minutes M",
        )
    if -fall > IMPROVING * level and -fall > 2 * spread:
        return Finding(
            rule="rising",
            grade="warning",
            title="Getting worse",
            because=f"The {of} has risen by {share} {end}.{unseen}",
            advice="Lower training.learning_rate, or use the best checkpoint.",
        )
    return Finding(
        rule="converged",
        grade="good",
        title="Converged",
        because=f"The {of} has changed by {share} {end}.{unseen}",
        advice="More steps of the same kind will bring little. Listen to the worst recordings below; "
        "change the weights, the terms or the recordings.",
    )


def _overfitting(held: Series, trained: Series) -> Finding | None:
    best = int(np.argmin(held.values))
    least, last = float(held.values[best]), float(held.values[-3:].mean())
    fall = float(held.values[0]) - least
    if last - least <= max(RISEN * fall, RISEN_OF_LEVEL * abs(least), SCATTER * _scatter(held)):
        return None
    step = int(held.steps[best])
    later = trained.values[trained.steps > step]
    before = trained.values[trained.steps <= step][-max(1, len(later)) :]
    if not len(later) or np.nanmean(later[-max(1, len(later) // 4) :]) >= np.nanmean(before):
        return None
    return Finding(
        rule="overfitting",
        grade="bad",
        title="Learning by heart",
        because=f"The held-out loss was lowest at step {step}, {least:.4g}, and has risen to "
        f"{last:.4g} since, while the training loss has fallen.",
        advice=f"Stop at about step {step}, add recordings, or lower training.keep.",
    )


def _recordings(evidence: Evidence) -> Iterator[Finding]:
    if evidence.train is not None and evidence.train < FEW_RECORDINGS:
        yield Finding(
            rule="few recordings",
            grade="note",
            title="There are few recordings",
            because=f"The model is trained on {evidence.train}, fewer than {FEW_RECORDINGS}.",
            advice="More recordings of the kind that you want to hear help more than more steps.",
        )
    if evidence.heldout == 0:
        yield Finding(
            rule="nothing held out",
            grade="note",
            title="No recording is held out",
            because="All scores are of recordings that the model was trained on.",
            advice="Add recordings, or raise corpus.heldout_fraction.",
        )
    if evidence.skipped and evidence.train is not None and evidence.skipped > evidence.train / 10:
        yield Finding(
            rule="skipped files",
            grade="note",
            title="Many files are not used",
            because=f"{counted(evidence.skipped, 'file')} of the corpus {are(evidence.skipped)} skipped; "
            "the reasons are listed below.",
        )


def _sounds(evidence: Evidence) -> Iterator[Finding]:
    far = {
        name: "silent" if level is None else f"{level:+.1f} dB"
        for name, level in evidence.levels.items()
        if level is None or abs(level) > LEVEL_DB
    }
    if far:
        named = ", ".join(f"{name} ({level})" for name, level in [*far.items()][:3])
        of = counted(len(evidence.levels), "reconstruction")
        differ = "differs" if len(far) == 1 else "differ"
        yield Finding(
            rule="level",
            grade="warning",
            title="Levels are not kept",
            because=f"{len(far)} of {of} {differ} by more than {LEVEL_DB:g} dB: "
            f"{named}{', ...' if len(far) > 3 else ''}.",
            advice="Train for longer, or give reconstruction or stft a larger weight.",
        )
    if number := len(evidence.clipped):
        yield Finding(
            rule="clipping",
            grade="note",
            title="Reconstructions exceed full scale",
            because=f"{counted(number, 'recording')} {are(number)} turned down on this page.",
        )


def _latents(evidence: Evidence) -> Iterator[Finding]:
    if evidence.units and evidence.active < UNUSED * evidence.units:
        yield Finding(
            rule="unused latents",
            grade="warning",
            title="Most of the latents are not used",
            because=f"{evidence.active} of {evidence.units} units are active.",
            advice="Lower loss.kl.weight_max, or raise loss.kl.free_bits.",
        )


def _kept(evidence: Evidence) -> Iterator[Finding]:
    if evidence.kept is None or evidence.kept == 1:
        return
    again = "To keep all of it, without training again:"
    if evidence.kept >= LITTLE_KEPT:
        rule, title = "part kept", f"{percentage(evidence.kept)} of the training is kept"
        because = (
            "What you hear is a model between the one that the training began with and the one that it "
            "ended with (training.keep). The curves are of all of it."
        )
    else:
        rule = "little kept"
        title = f"The training has {'hardly' if evidence.kept else 'not'} changed the model"
        part = f"{percentage(evidence.kept)} of it" if evidence.kept else "Nothing of it"
        because = f"{part} is kept (training.keep): what you hear is the model that the training began with."
        again = f"More recordings, more time or other terms may change that. {again}"
    yield Finding(
        rule=rule,
        grade="note",
        title=title,
        because=because,
        advice=again,
        command=f"distill train --resume --out {shlex.quote(evidence.folder)} --set training.keep=1",
    )


_RULES: tuple[Callable[[Evidence], Iterator[Finding]], ...] = (
    _state, _trend, judge_terms, _recordings, _sounds, _latents, _kept,
)  # fmt: skip
_ORDER: tuple[Grade, ...] = ("bad", "warning", "good", "note")
_FIRST = (
    "failed", "interrupted", "running", "no records", "too early", "overfitting", "improving", "rising",
    "converged",
)  # fmt: skip


def _only_finite(series: Series) -> Series:
    finite = np.isfinite(series.values)
    return Series(steps=series.steps[finite], values=series.values[finite])


def _stretches(series: Series) -> Series:
    """Return the means of stretches of equal length, since values of single batches scatter."""
    series = _only_finite(series)
    count = min(_STRETCHES, len(series) // 3)
    if count < 1:
        return evolve(series, steps=series.steps[:0], values=series.values[:0])
    parts = zip(np.array_split(series.steps, count), np.array_split(series.values, count), strict=True)
    steps, values = zip(*((steps[-1], values.mean()) for steps, values in parts), strict=True)
    return Series(steps=np.array(steps), values=np.array(values))


def _scatter(series: Series) -> float:
    """Return the standard deviation of values around their trend, from their differences."""
    steps = np.diff(series.values)
    return 1.4826 * float(np.median(np.abs(steps - np.median(steps)))) / 2**0.5


def _fall(series: Series) -> tuple[float, float]:
    """Return the fall of a straight line through a series over its length, and its standard error."""
    time = np.linspace(-0.5, 0.5, len(series)) if len(series) > 1 else np.zeros(1)
    power = float(np.square(time).sum())
    if power == 0:
        return 0.0, 0.0
    slope = float((time * series.values).sum()) / power
    residual = series.values - series.values.mean() - slope * time
    freedom = max(1, len(series) - 2)
    return -slope, float(np.sqrt(np.square(residual).sum() / freedom / power))

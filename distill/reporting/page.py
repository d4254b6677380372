"""The page of a run as one HTML file, which opens from disk and asks nothing of a network."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from attrs import frozen

import distill
from distill.config.words import counted, duration_in_words, whole_percentage
from distill.evaluation.results import Evaluation, Metrics
from distill.reporting.document import (
    TEMPLATES,
    as_json,
    encoded,
    environment,
    joined,
    plotly_library,
    policy_of,
)
from distill.reporting.facts import Facts
from distill.reporting.figures import (
    Figure,
    colours_of,
    component_figures,
    map_figure,
    note_on,
    setting_figures,
    share_figure,
    unit_figure,
    weighted_figure,
)
from distill.reporting.findings import Evidence
from distill.reporting.gradient_figures import gradient_figures
from distill.reporting.latents import ACTIVE, Latents
from distill.reporting.shares import shares_of, still_terms
from distill.reporting.sounds import Pair, title_of
from distill.reporting.spectrogram_figure import spectrogram_figure
from distill.reporting.verdict import LEVEL_DB, judge

_POOR = 3.0
"""The rating of a listener below which a sound is marked: 3 is fair (ITU-T P.800)."""


@frozen(kw_only=True)
class Score:
    """A score of a sound: its name, its value in words, and whether it is far from what it should be."""

    name: str
    value: str
    bad: bool = False


@frozen(kw_only=True)
class Card:
    """A pair of sounds as the page shows it."""

    key: str
    title: str
    files: tuple[str, str]
    note: str
    seconds: float
    scores: tuple[Score, ...]
    figure: Figure


def evidence_of(facts: Facts) -> Evidence:
    """Return what the rules of the verdict judge by."""
    measured = facts.sounds.evaluation.measured
    split, latents = facts.split, facts.latents
    return Evidence(
        folder=str(facts.run.folder),
        state=facts.ending.state,
        history=facts.history,
        message=facts.ending.message,
        kept=facts.ending.kept,
        train=None if split is None or split.sharded else split.train,
        heldout=None if split is None or split.sharded else split.heldout,
        skipped=facts.skipped_count,
        levels={
            title_of(name): None if metrics.is_silent else metrics.level_difference
            for name, metrics in measured
        },
        clipped=tuple(title_of(name) for name, metrics in measured if metrics.peak > 1),
        active=0 if latents is None else latents.active,
        units=0 if latents is None else len(latents.variance),
    )


def render(facts: Facts, *, refresh: float | None = None) -> str:
    """Return the page of a run. With `refresh`, the page reloads after so many seconds."""
    colours = colours_of([*facts.terms])
    still = still_terms(facts.history)
    shares = shares_of(facts.history, still)
    cards = [_card(number, pair) for number, pair in enumerate(facts.sounds.pairs)]
    components = component_figures(facts.history, colours)
    overview = [share_figure(shares, colours, note=note_on(still))] if shares else []
    overview += [weighted_figure(facts.history, colours)] if facts.history.weights else []
    settings = setting_figures(facts.history, colours)
    gradients = gradient_figures(facts.history, colours)
    latents = _latent_figures(facts.latents)
    drawn = [*(card.figure for card in cards), *components, *overview, *settings, *gradients, *latents]
    points = facts.latents.points if facts.latents else ()
    data = {
        "figures": {figure.key: figure.plotly() for figure in drawn},
        "sounds": {card.key: _audio(pair) for card, pair in zip(cards, facts.sounds.pairs, strict=True)},
        "points": [point.sound and encoded(point.sound) for point in points],
        "refresh": refresh,
    }
    library, script = plotly_library(), joined(TEMPLATES, "plots.js", "player.js", "page.js")
    return (
        environment(TEMPLATES)
        .get_template("report.html.jinja")
        .render(
            facts=facts,
            name=facts.run.folder.resolve().name,
            folder=str(facts.run.folder),
            version=distill.__version__,
            findings=judge(evidence_of(facts)),
            cards=cards,
            left_out=_left_out(facts),
            ranked_by="Zimtohrli rating"
            if facts.sounds.evaluation.ranked_by == "zimtohrli"
            else "mel distance",
            mean=_mean_scores(facts.sounds.evaluation),
            components=components,
            overview=overview,
            settings=settings,
            gradients=gradients,
            latents=latents,
            colours=colours,
            terms=[(name, colours[name], origin) for name, origin in facts.terms.items()],
            duration=duration_in_words(facts.history.seconds),
            length=_length(facts.tree),
            points=points,
            data=as_json(data),
            library=library,
            script=script,
            style=joined(TEMPLATES, "page.css"),
            policy=policy_of(library, script),
        )
    )


def _card(number: int, pair: Pair) -> Card:
    seen = pair.spectrograms
    notes = [f"{seen.seconds:.1f} s, {pair.sample_rate / 1000:g} kHz"]
    notes += [f"{pair.channels} channels"] if pair.channels > 1 else []
    notes += [f"both turned down by {pair.attenuation:.1f} dB"] if pair.attenuation >= 0.05 else []
    notes += [pair.left_out] if pair.left_out else []
    return Card(
        key=f"sound-{number}",
        title=pair.name,
        files=pair.files,
        note=", ".join(notes),
        seconds=seen.seconds,
        scores=_scores(pair.metrics) if pair.metrics else (),
        figure=spectrogram_figure(
            f"spectrogram-{number}",
            pair.name,
            seen.levels,
            seen.hertz,
            seen.seconds,
            {"reconstruction": "made"},
        ),
    )


def _mean_scores(evaluation: Evaluation) -> tuple[Score, ...]:
    """Return the scores of the mean of several recordings. Where one is silent, the level has none in dB."""
    if evaluation.mean is None or len(evaluation.measured) < 2:
        return ()
    return _scores(evaluation.mean, has_silence=evaluation.has_silence)


def _scores(metrics: Metrics, *, has_silence: bool = False) -> tuple[Score, ...]:
    scores = []
    if metrics.zimtohrli is not None:
        rating = metrics.zimtohrli
        scores.append(Score(name="hearing", value=f"{rating:.2f} of 5", bad=rating < _POOR))
    level = metrics.level_difference
    shown = "silent" if metrics.is_silent else "-" if has_silence else _decibels(level)
    scores.append(Score(name="level", value=shown, bad=abs(level) > LEVEL_DB))
    if metrics.tones is not None:
        scores.append(Score(name="tones kept", value=whole_percentage(metrics.tones)))
    scores.append(Score(name="mel distance", value=f"{metrics.mel:.1f} dB"))
    if metrics.texture is not None and metrics.original_texture is not None:
        scores.append(Score(name="texture", value=_decibels(metrics.texture - metrics.original_texture)))
    return tuple(scores)


def _decibels(value: float) -> str:
    """Return a difference with its sign; what is nearly 0 has none."""
    return f"{value:+.1f} dB" if abs(value) >= 0.05 else "0.0 dB"


def _left_out(facts: Facts) -> list[tuple[str, tuple[Score, ...], str]]:
    """Return the sounds that have scores only: those beyond the worst ones."""
    shown = len(facts.sounds.pairs)
    ranking = facts.sounds.evaluation.ranking
    return [(title_of(name), _scores(metrics), "") for name, metrics in ranking[shown:]]


def _latent_figures(latents: Latents | None) -> list[Figure]:
    if latents is None:
        return []
    positions = np.array([(point.x, point.y) for point in latents.points])
    names = [point.name for point in latents.points]
    plays = [point.sound is not None for point in latents.points]
    return [
        unit_figure(latents.variance, latents.divergence, ACTIVE, latents.levels),
        map_figure(names, positions, plays, latents.explained),
    ]


def _audio(pair: Pair) -> dict[str, Any]:
    return {"original": encoded(pair.original), "reconstruction": encoded(pair.reconstruction)}


def _length(tree: Mapping[str, Any]) -> str:
    """Return how long the run is to be, as its recipe says."""
    training = tree.get("training")
    training = training if isinstance(training, Mapping) else {}
    steps, minutes = training.get("steps"), training.get("minutes")
    if isinstance(steps, int):
        return f"of {counted(steps, 'step')}"
    return f"of {minutes:g} min" if isinstance(minutes, int | float) else ""

"""The page of a comparison as one HTML file, which opens from disk and loads nothing from a network."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

import distill
from distill.comparison.answers import ORIGINAL
from distill.comparison.figures import component_figures, interval_figure
from distill.comparison.gathering import Compared, Gathered
from distill.comparison.listening import Listening
from distill.comparison.sounds import Versions, names_of
from distill.comparison.table import Cell, Row
from distill.comparison.text import CHANCE, COUNTS, shown_interval, shown_score, verdict_of
from distill.config.words import counted, duration_in_words
from distill.reporting.document import (
    TEMPLATES,
    as_json,
    encoded,
    environment,
    joined,
    plotly_library,
    policy_of,
)
from distill.reporting.figures import Figure, colours_of
from distill.reporting.history import History
from distill.reporting.spectrogram_figure import spectrogram_figure

_OWN = Path(__file__).parent / "templates"
_MOST_LISTED = 200
"""How many recordings the page names, besides those that it plays."""


@frozen(kw_only=True)
class ShownRun:
    """A run as the page shows it."""

    name: str
    folder: str
    state: str
    history: History
    duration: str
    colour: str


@frozen(kw_only=True)
class ShownCell:
    """A cell of the table: texts, and the class `better`, `worse` or `unsure`."""

    mean: str
    difference: str
    word: str
    kind: str
    best: bool


@frozen(kw_only=True)
class ShownRow:
    """A row of the table."""

    name: str
    better: str
    few: str
    cells: tuple[ShownCell, ...]


@frozen(kw_only=True)
class ShownScore:
    """The mean score of a system in a listening test, as text."""

    system: str
    count: int
    score: str
    difference: str


@frozen(kw_only=True)
class Card:
    """A recording with its versions, to play and to see."""

    key: str
    title: str
    note: str
    seconds: float
    choices: tuple[tuple[str, str], ...]
    figure: Figure


def render(
    facts: Gathered,
    versions: Sequence[Versions] = (),
    problems: Sequence[str] = (),
    listening: Listening | None = None,
) -> str:
    """Return the page of a comparison.

    Args:
        facts: the facts.
        versions: the recordings to play.
        problems: what cannot be played, a sentence each.
        listening: the results of listening tests, if there are any.
    """
    colours = colours_of([each.name for each in facts.runs])
    audible = names_of(facts.runs)
    choices = [(ORIGINAL, ORIGINAL), *((key, each.name) for key, each in audible.items())]
    cards = [_card(number, each, choices) for number, each in enumerate(versions)]
    components = component_figures(facts.runs, colours)
    intervals = interval_figure(facts.rows, facts.runs, colours) if facts.rows else None
    drawn = [*(card.figure for card in cards), *components, *([intervals] if intervals else [])]
    return (
        environment(_OWN, TEMPLATES)
        .get_template("compare.html.jinja")
        .render(
            **_told(facts, colours, problems, listening),
            **_scripts(),
            intervals=intervals,
            cards=cards,
            choices=choices,
            first_pair=(1, 2) if len(choices) > 2 else (0, 1),
            components=components,
            data=as_json(_data(drawn, cards, versions, audible)),
        )
    )


def _told(
    facts: Gathered, colours: Mapping[str, str], problems: Sequence[str], listening: Listening | None
) -> dict[str, Any]:
    """Return what the page says in words and tables."""
    return {
        "name": " and ".join(each.name for each in facts.runs),
        "version": distill.__version__,
        "facts": facts,
        "runs": [_run(each, colours) for each in facts.runs],
        "rows": [_row(row) for row in facts.rows],
        "counts": COUNTS,
        "chance": CHANCE,
        "recordings": facts.recordings[:_MOST_LISTED],
        "terms": [*dict.fromkeys(term for each in facts.runs for term in each.terms)],
        "listening": listening,
        "scores": _scores(listening) if listening else [],
        "notes": [*facts.notes, *problems],
    }


def _scripts() -> dict[str, str]:
    """Return the scripts and the style of the page, and the policy that allows no other scripts."""
    library = plotly_library()
    script = "\n".join((joined(TEMPLATES, "plots.js", "player.js"), joined(_OWN, "compare.js")))
    style = "\n".join((joined(TEMPLATES, "page.css"), joined(_OWN, "compare.css")))
    return {"library": library, "script": script, "style": style, "policy": policy_of(library, script)}


def _data(
    figures: Iterable[Figure],
    cards: Sequence[Card],
    versions: Sequence[Versions],
    audible: Mapping[str, Compared],
) -> dict[str, Any]:
    """Return what the scripts of the page draw and play."""
    shown = [*zip(cards, versions, strict=True)]
    return {
        "figures": {figure.key: figure.plotly() for figure in figures},
        "sounds": {
            card.key: {name: encoded(sound) for name, sound in each.sounds.items()} for card, each in shown
        },
        "titles": {card.key: card.title for card in cards},
        "seconds": {card.key: card.seconds for card in cards},
        "rates": {card.key: each.sample_rate for card, each in shown},
        "runs": [
            {"key": key, "name": each.name, "model": each.measures.model}
            for key, each in audible.items()
            if each.measures is not None
        ],
    }


def _run(compared: Compared, colours: Mapping[str, str]) -> ShownRun:
    return ShownRun(
        name=compared.name,
        folder=str(compared.run.folder),
        state=compared.state_in_words,
        history=compared.history,
        duration=duration_in_words(compared.history.seconds),
        colour=colours[compared.name],
    )


def _row(row: Row) -> ShownRow:
    return ShownRow(
        name=f"{row.scale.name}{f', {row.scale.unit}' if row.scale.unit else ''}",
        better="higher is better" if row.scale.higher else "lower is better",
        few=counted(row.count, "recording"),
        cells=tuple(_cell(row, cell) for cell in row.cells),
    )


def _cell(row: Row, cell: Cell) -> ShownCell:
    return ShownCell(
        mean="-" if cell.mean is None else row.scale.shown(cell.mean),
        difference="" if cell.difference is None else shown_interval(row.scale, cell.difference),
        word=verdict_of(cell),
        kind={True: "better", False: "worse", None: "unsure"}[cell.better],
        best=cell.best,
    )


def _card(number: int, versions: Versions, choices: Sequence[tuple[str, str]]) -> Card:
    seen = versions.spectrograms
    notes = [f"{seen.seconds:.1f} s, {versions.sample_rate / 1000:g} kHz"]
    notes += [f"{versions.channels} channels"] if versions.channels > 1 else []
    notes += [f"all turned down by {versions.attenuation:.1f} dB"] if versions.attenuation >= 0.05 else []
    return Card(
        key=f"sound-{number}",
        title=versions.name,
        note=", ".join(notes),
        seconds=seen.seconds,
        choices=tuple(choices),
        figure=spectrogram_figure(
            f"spectrogram-{number}", versions.name, seen.levels, seen.hertz, seen.seconds,
            {name: f"...{name[-15:]}" for name in seen.levels if len(name) > 18},
        ),
    )  # fmt: skip


def _scores(listening: Listening) -> list[ShownScore]:
    return [
        ShownScore(
            system=each.system,
            count=each.count,
            score=shown_score(each.score),
            difference="" if each.difference is None else shown_score(each.difference, signed=True),
        )
        for each in listening.mushra
    ]

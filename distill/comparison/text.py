"""A comparison as text, for terminals of 80 columns."""

import math
import textwrap
from collections.abc import Sequence

from distill.comparison.gathering import Gathered
from distill.comparison.listening import Listening
from distill.comparison.scales import Scale
from distill.comparison.statistics import Interval
from distill.comparison.table import Cell, Row
from distill.errors import printable

_WIDTH = 80
_MOST_VALUE = 24
COUNTS = "A difference counts only if its interval (95 %, paired bootstrap over the recordings) excludes 0."
"""How to read the table."""

CHANCE = 0.05
"""The probability of a result by guessing below which two systems count as told apart."""


def lines_of(facts: Gathered) -> list[str]:
    """Return the lines of a comparison: runs, differences of recipes, the table, and notes."""
    lines = [
        f"{label_of(number)}  {printable(run.name)}, {run.state_in_words}"
        for number, run in enumerate(facts.runs)
    ]
    lines += ["", *_difference_lines(facts)]
    if facts.rows:
        lines += ["", f"Means over {printable(facts.source)}; * is the best.", *_table_lines(facts)]
        lines += ["", *textwrap.wrap(COUNTS, _WIDTH)]
    if facts.notes:
        lines.append("")
    for note in facts.notes:
        lines += textwrap.wrap(printable(note), _WIDTH)
    return lines


def listening_lines(listening: Listening, first: str) -> list[str]:
    """Return the lines of the results of listening tests."""
    lines = []
    if listening.abx:
        lines += ["", "ABX: right answers, their share with its interval, and the chance of guessing"]
    for each in listening.abx:
        share, low, high = (100 * value for value in (each.right / each.trials, each.low, each.high))
        who = printable(each.listener) or "all listeners"
        told = "told apart" if each.chance < CHANCE else "not told apart"
        lines += textwrap.wrap(
            f"{printable(each.pair[0])} / {printable(each.pair[1])}, {who}: {each.right} of {each.trials}, "
            f"{share:.0f} % [{low:.0f}, {high:.0f}], p = {each.chance:.2g}, {told}",
            _WIDTH, initial_indent="  ", subsequent_indent="    ",
        )  # fmt: skip
    if listening.mushra:
        lines += ["", f"MUSHRA: mean scores of {listening.listeners} listeners with 95 % intervals,"]
        lines += [f"and the difference from {printable(first)}"]
    for rated in listening.mushra:
        difference = "" if rated.difference is None else shown_score(rated.difference, signed=True)
        lines.append(f"  {printable(rated.system):24}{shown_score(rated.score):18}{difference}".rstrip())
    for name, reason in listening.excluded:
        note = f"{printable(name)} is left out of the scores: {reason} (ITU-R BS.1534-3, 4.1.2)."
        lines += textwrap.wrap(note, _WIDTH)
    return lines


def label_of(number: int) -> str:
    """Return the label of a run in the columns of a table: A, B, ..., Z, A2, B2, ..."""
    rounds, letter = divmod(number, 26)
    return chr(ord("A") + letter) + (str(rounds + 1) if rounds else "")


def shown_score(interval: Interval, *, signed: bool = False) -> str:
    """Return the mean of MUSHRA scores and its interval as text."""
    mean, low, high = (
        f"{each:{'+' if signed else ''}.0f}" if math.isfinite(each) else "-"
        for each in (interval.mean, interval.low, interval.high)
    )
    return f"{mean} [{low}, {high}]"


def shown_interval(scale: Scale, interval: Interval) -> str:
    """Return the mean of a difference and its interval as text, if a single recording allows one."""
    mean, low, high = (
        scale.shown(each, signed=True) for each in (interval.mean, interval.low, interval.high)
    )
    return f"{mean} [{low}, {high}]" if math.isfinite(interval.low) else f"{mean} (one recording)"


def verdict_of(cell: Cell) -> str:
    """Return whether a run is better than the first one, in a word, or what there is instead."""
    if cell.difference is None:
        return ""
    return {True: "better", False: "worse", None: "no difference found"}[cell.better]


def _difference_lines(facts: Gathered) -> list[str]:
    if not facts.differences:
        return ["The recipes are the same."]
    lines = ["The recipes differ in"]
    for row in facts.differences:
        lines.append(f"  {printable(row.address)}")
        values = (
            f"{label_of(number)} {'not set' if value is None else _short(value)}"
            for number, value in enumerate(row.values)
        )
        lines += textwrap.wrap(" | ".join(values), _WIDTH, initial_indent="    ", subsequent_indent="    ")
    return lines


def _short(value: str) -> str:
    text = printable(value)
    return text if len(text) <= _MOST_VALUE else f"...{text[3 - _MOST_VALUE :]}"


def _table_lines(facts: Gathered) -> list[str]:
    """Return two tables: of the means, a column for each run, and of the differences, a line for each."""
    shown = range(len(facts.runs))
    lines = []
    for start in range(0, len(shown), 6):
        part = shown[start : start + 6]
        lines.append(f"{'':24}" + "".join(f"{label_of(number):>9}" for number in part))
        lines += [_mean_line(row, part) for row in facts.rows]
    for number in shown[1:]:
        told = [(row, row.cells[number]) for row in facts.rows if row.cells[number].difference is not None]
        if told:
            lines += ["", f"{label_of(number)} less {label_of(0)}"]
        lines += [_difference_line(row, cell) for row, cell in told]
    return lines


def _mean_line(row: Row, part: Sequence[int]) -> str:
    head = f"{row.scale.name}{f', {row.scale.unit}' if row.scale.unit else ''}"
    cells = (
        f"{'-' if cell.mean is None else row.scale.shown(cell.mean) + ('*' if cell.best else ' '):>9}"
        for cell in (row.cells[number] for number in part)
    )
    return f"{head:24}{''.join(cells)}".rstrip()


def _difference_line(row: Row, cell: Cell) -> str:
    interval = "" if cell.difference is None else shown_interval(row.scale, cell.difference)
    return f"{row.scale.name:24}{interval:32}{verdict_of(cell)}"

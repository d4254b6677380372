"""The figures of a comparison, as data for Plotly: curves of all runs, and intervals of differences."""

import math
from collections.abc import Mapping, Sequence

from attrs import evolve, frozen

from distill.comparison.gathering import Compared
from distill.comparison.table import Cell, Row
from distill.loss.components import ComponentName
from distill.loss.still import title_without
from distill.reporting.figures import (
    Figure,
    Trace,
    axis_of,
    curve,
    in_order,
    note_on,
    number_of,
    plain,
    scale_of,
    summary_of,
)
from distill.reporting.history import Series
from distill.reporting.shares import still_terms, total_that_moves

_WIDE = 100.0
"""The width of an interval, in percent, from which on the axis does not have to show it whole."""


@frozen(kw_only=True, eq=False)
class _Curves:
    """The curves of a run in a figure, and what tells them from those of other runs beside its name."""

    run: str
    trained: Series | None
    held: Series | None
    note: str = ""


def component_figures(runs: Sequence[Compared], colours: Mapping[str, str]) -> list[Figure]:
    """Return a figure for each component that a run has, with the curves of all runs; the total first.

    If terms change nothing in a run, the first figure is of the totals without them.
    """
    names = {name: None for each in runs for name in (*each.history.train, *each.history.heldout)}
    figures = [
        _component_figure(
            name,
            ComponentName.parse(name).term,
            [
                _Curves(
                    run=each.name, trained=each.history.train.get(name), held=each.history.heldout.get(name)
                )
                for each in runs
            ],
            colours,
        )
        for name in in_order(names)
        if not ComponentName.parse(name).is_weighting
    ]
    moving = _moving_figure(runs, colours)
    return figures if moving is None else [moving, *figures]


def _moving_figure(runs: Sequence[Compared], colours: Mapping[str, str]) -> Figure | None:
    """Return the totals of all runs, each without the terms that change nothing in it, or None without any.

    A term may change nothing in one run and something in another one, whose encoder is trained.
    """
    still = {each.name: still_terms(each.history) for each in runs}
    if not any(still.values()):
        return None
    same = len(set(still.values())) == 1
    curves = [
        _Curves(
            run=each.name,
            trained=total_that_moves(each.history.train, each.history.weights, still[each.name]),
            held=total_that_moves(each.history.heldout, each.history.heldout_weights, still[each.name]),
            note="" if same or not still[each.name] else f" less {' and '.join(still[each.name])}",
        )
        for each in runs
    ]
    told = {note_on(names) for names in still.values() if names}
    if not same:
        told = {f"{name}: {note_on(names)}" for name, names in still.items() if names}
    title = title_without(next(iter(still.values()))) if same else "total less what changes nothing"
    figure = _component_figure(title, "", curves, colours)
    return evolve(figure, key="moving", note=" ".join(sorted(told)))


def _component_figure(name: str, term: str, curves: Sequence[_Curves], colours: Mapping[str, str]) -> Figure:
    data: list[Trace] = []
    told: list[str] = []
    rows: list[tuple[str, ...]] = [("", "records", "first", "last", "least", "at step")]
    drawn = []
    for each in curves:
        style = {"width": 1.5, "color": colours[each.run]}
        for series, label, more in (
            (each.trained, "trained", {}),
            (each.held, "held out", {"width": 2, "dash": "dot"}),
        ):
            if series is None:
                continue
            dots = "lines+markers" if label == "held out" else "lines"
            called = f"{each.run}{each.note}, {label}"
            trace = curve(series, called, dots, {**style, **more}, term)
            data.append({**trace, "meta": {"term": term, "run": each.run}, "showlegend": False})
            rows.append((called, *summary_of(series)))
            told.append(f"{called}, from {number_of(series.values[0])} to {number_of(series.values[-1])}")
            drawn.append(series)
    return Figure(
        key=f"component-{name}",
        title=name,
        description=f"{name}: {'; '.join(told)}.",
        data=data,
        layout={"xaxis": {"title": {"text": "step"}}, "yaxis": axis_of(scale_of(*drawn)), "hovermode": "x"},
        term=term,
        height=250,
        rows=tuple(rows),
    )


def interval_figure(
    rows: Sequence[Row], runs: Sequence[Compared], colours: Mapping[str, str]
) -> Figure | None:
    """Return the differences from the first run, with their intervals, in parts of the first run's mean.

    What is better is on the right. Measures of which there is nothing to draw have no line, such as a level
    error that is 0 in the first run, and a note. At first, the axis shows intervals of up to 100 % whole: a
    measure near 0, such as the level error, has others.
    """
    drawn = [row for row in rows if any(_in_percent(row, cell) for cell in row.cells)]
    left_out = ", ".join(row.scale.name for row in rows if row not in drawn)
    data: list[Trace] = []
    told: list[str] = []
    reach = 0.0
    for number, each in enumerate(runs):
        points = []
        for place, row in enumerate(drawn):
            found = _in_percent(row, row.cells[number])
            if found is None:
                continue
            points.append((place, row.scale.name, *found))
            _, low, high = found
            if high - low <= _WIDE:
                reach = max(reach, -low, high)
        if not points:
            continue
        places, names, means, lows, highs = zip(*points, strict=True)
        shift = (number - len(runs) / 2) * 0.6 / len(runs)  # so that runs do not cover each other
        told += [f"{each.name}, {name}: {mean:+z.1f} %" for name, mean in zip(names, means, strict=True)]
        data.append(
            {
                "type": "scatter", "mode": "markers", "name": plain(each.name), "x": list(means),
                "y": [place + shift for place in places], "text": list(names),
                "marker": {"size": 9, "color": colours[each.name]},
                "error_x": {
                    "type": "data", "symmetric": False, "thickness": 2, "width": 5,
                    "array": [high - mean for high, mean in zip(highs, means, strict=True)],
                    "arrayminus": [mean - low for low, mean in zip(lows, means, strict=True)],
                },
                "hovertemplate": "%{text}: %{x:+.1f} %", "meta": {"run": each.name},
            }
        )  # fmt: skip
    if not data:
        return None
    return Figure(
        key="intervals",
        title=f"Better (right) or worse (left) than {runs[0].name}, with 95 % intervals",
        description=f"Differences from {runs[0].name} in percent of its mean. {'; '.join(told)}.",
        data=data,
        layout={
            "xaxis": {
                "title": {"text": f"% of the mean of {plain(runs[0].name)}"}, "zerolinewidth": 2,
                **({"range": [-1.1 * reach, 1.1 * reach]} if reach else {}),
            },
            "yaxis": {
                "tickvals": [*range(len(drawn))], "ticktext": [row.scale.name for row in drawn],
                "range": [len(drawn) - 0.5, -0.5], "zeroline": False,
            },
            "hovermode": "closest", "margin": {"l": 48, "r": 10, "t": 30, "b": 36},
            "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
            "showlegend": len(data) > 1,
        },
        height=90 + (16 + 16 * len(data)) * len(drawn),
        note=left_out and f"Without {left_out}: {runs[0].name} has 0, or too few recordings have it.",
    )  # fmt: skip


def _in_percent(row: Row, cell: Cell) -> tuple[float, float, float] | None:
    """Return a difference, and the ends of its interval, in percent of the first run's mean.

    What is better is positive. None if there is no interval, or if the mean is 0 with the digits shown.
    """
    difference, base = cell.difference, row.cells[0].mean
    if difference is None or base is None or not round(base, row.scale.digits):
        return None
    if not math.isfinite(difference.low):
        return None
    sign = (1 if row.scale.higher else -1) * 100 / abs(base)
    low, high = sorted((sign * difference.low, sign * difference.high))
    return sign * difference.mean, low, high

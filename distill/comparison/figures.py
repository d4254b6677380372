"""The figures of a comparison, as data for Plotly: curves of all runs, and intervals of differences."""

from collections.abc import Mapping, Sequence

from distill.comparison.gathering import Compared
from distill.comparison.table import Row
from distill.loss.components import ComponentName
from distill.reporting.figures import (
    Figure,
    Trace,
    axis_of,
    curve,
    in_order,
    number_of,
    plain,
    scale_of,
    summary_of,
)


def component_figures(runs: Sequence[Compared], colours: Mapping[str, str]) -> list[Figure]:
    """Return a figure for each component that a run has, with the curves of all runs; the total first."""
    names = {name: None for each in runs for name in (*each.history.train, *each.history.heldout)}
    return [
        _component_figure(name, runs, colours)
        for name in in_order(names)
        if not ComponentName.parse(name).is_weighting
    ]


def _component_figure(name: str, runs: Sequence[Compared], colours: Mapping[str, str]) -> Figure:
    parsed = ComponentName.parse(name)
    data: list[Trace] = []
    told: list[str] = []
    rows: list[tuple[str, ...]] = [("", "records", "first", "last", "least", "at step")]
    drawn = []
    for each in runs:
        style = {"width": 1.5, "color": colours[each.name]}
        for series, label, more in (
            (each.history.train.get(name), "trained", {}),
            (each.history.heldout.get(name), "held out", {"width": 2, "dash": "dot"}),
        ):
            if series is None:
                continue
            dots = "lines+markers" if label == "held out" else "lines"
            trace = curve(series, f"{each.name}, {label}", dots, {**style, **more}, parsed.term)
            data.append({**trace, "meta": {"term": parsed.term, "run": each.name}, "showlegend": False})
            rows.append((f"{each.name}, {label}", *summary_of(series)))
            told.append(
                f"{each.name}, {label}, from {number_of(series.values[0])} to {number_of(series.values[-1])}"
            )
            drawn.append(series)
    return Figure(
        key=f"component-{name}",
        title=name,
        description=f"{name}: {'; '.join(told)}.",
        data=data,
        layout={"xaxis": {"title": {"text": "step"}}, "yaxis": axis_of(scale_of(*drawn)), "hovermode": "x"},
        term=parsed.term,
        height=250,
        rows=tuple(rows),
    )


def interval_figure(
    rows: Sequence[Row], runs: Sequence[Compared], colours: Mapping[str, str]
) -> Figure | None:
    """Return the differences from the first run, with their intervals, in parts of the first run's mean.

    What is better is on the right. Differences whose intervals are not finite are left out.
    """
    data: list[Trace] = []
    told: list[str] = []
    for number, each in enumerate(runs):
        points = []
        for place, row in enumerate(rows):
            difference, base = row.cells[number].difference, row.cells[0].mean
            if difference is None or not base or difference.low == float("-inf"):
                continue
            sign = (1 if row.scale.higher else -1) * 100 / abs(base)
            ends = sorted((sign * difference.low, sign * difference.high))
            points.append((place, row.scale.name, sign * difference.mean, *ends))
        if not points:
            continue
        places, names, means, lows, highs = zip(*points, strict=True)
        shift = (number - len(runs) / 2) * 0.6 / len(runs)  # so that runs do not cover each other
        told += [f"{each.name}, {name}: {mean:+.1f} %" for name, mean in zip(names, means, strict=True)]
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
            "xaxis": {"title": {"text": f"% of the mean of {plain(runs[0].name)}"}, "zerolinewidth": 2},
            "yaxis": {
                "tickvals": [*range(len(rows))], "ticktext": [row.scale.name for row in rows],
                "range": [len(rows) - 0.5, -0.5], "zeroline": False,
            },
            "hovermode": "closest", "margin": {"l": 48, "r": 10, "t": 30, "b": 36},
            "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom"},
            "showlegend": len(data) > 1,
        },
        height=90 + (16 + 16 * len(data)) * len(rows),
    )  # fmt: skip

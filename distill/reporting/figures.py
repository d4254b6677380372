"""The figures of a page, as data for Plotly: `{"data": [...], "layout": {...}}`. Loads no torch.

Colours of text and grid are set in the page, which knows whether it is light or dark.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray

from distill.config.words import whole_percentage
from distill.loss.components import GRADIENT_NORM, OBJECTIVE, TOTAL, ComponentName
from distill.loss.still import title_without
from distill.reporting.history import History, Series
from distill.reporting.shares import Shares, still_terms, total_that_moves

Trace: TypeAlias = dict[str, Any]

_COLOURS = ("#3b82d6", "#e07a1f", "#2a9d6f", "#c2549b", "#8a6fd1", "#b59410", "#1aa3b8", "#d0524a")
_TOTAL_COLOUR = "#7d8794"
_MOST_POINTS = 1000
_WIDE = 20


@frozen(kw_only=True)
class Figure:
    """A figure: its key in the page, title, the text that describes it, and its data for Plotly.

    `term` is the loss term that it is of, empty if of several. `rows` is a table with the same content in
    short, the first row being the heads. `note` says what is not in the figure.
    """

    key: str
    title: str
    description: str
    data: list[Trace]
    layout: dict[str, Any]
    term: str = ""
    height: int = 300
    rows: tuple[tuple[str, ...], ...] = ()
    terms: tuple[str, ...] = field(factory=tuple)
    note: str = ""

    def plotly(self) -> dict[str, Any]:
        """Return what Plotly draws."""
        return {"data": self.data, "layout": {"height": self.height, **self.layout}}


def colours_of(terms: Sequence[str]) -> dict[str, str]:
    """Return a colour for each term."""
    return {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(terms)}


def component_figures(history: History, colours: Mapping[str, str]) -> list[Figure]:
    """Return a figure for each component, the total first."""
    names = dict.fromkeys((*history.train, *history.heldout))
    figures = [_component_figure(name, history, colours) for name in in_order(names)]
    moving = _moving_figure(history)
    return [figure for figure in (moving, *figures) if figure is not None]


def _moving_figure(history: History) -> Figure | None:
    """Return the total without the terms that change nothing, or None if there are none."""
    still = still_terms(history)
    trained, held = (
        total_that_moves(components, weights, still)
        for components, weights in (
            (history.train, history.weights),
            (history.heldout, history.heldout_weights),
        )
    )
    if not still or trained is None or trained is history.train[TOTAL]:
        return None
    name = title_without(still)
    without = History(train={name: trained}, heldout={name: held} if held is not None else {})
    figure = _component_figure(name, without, {})
    return figure and evolve(figure, key="moving", note=note_on(still))


def note_on(still: Sequence[str]) -> str:
    """Return a sentence on terms that change nothing, and so are left out."""
    if not still:
        return ""
    names, change = " and ".join(still), "changes" if len(still) == 1 else "change"
    return f"Without {names}, which {change} nothing in the model: the gradient is 0."


def in_order(names: Iterable[str]) -> list[str]:
    """Return the names of components in the order of pages: the total, terms, and the rest."""
    return sorted(names, key=_rank)


def _rank(name: str) -> tuple[int, ...]:
    parsed = ComponentName.parse(name)
    kinds = {TOTAL: 0, "term": 1, OBJECTIVE: 2, GRADIENT_NORM: 3}
    return (kinds.get(parsed.kind, 4),)


def _component_figure(name: str, history: History, colours: Mapping[str, str]) -> Figure | None:
    parsed = ComponentName.parse(name)
    if parsed.is_weighting:
        return None
    colour = colours.get(parsed.term, _TOTAL_COLOUR)
    trained, held = history.train.get(name), history.heldout.get(name)
    data: list[Trace] = []
    told: list[str] = []
    rows: list[tuple[str, ...]] = [("", "records", "first", "last", "least", "at step")]
    for series, label, style in (
        (trained, "trained", {"width": 1.5, "color": colour}),
        (held, "held out", {"width": 2, "color": colour, "dash": "dot"}),
    ):
        if series is None:
            continue
        dots = "lines+markers" if label == "held out" else "lines"
        data.append(curve(series, label, dots, style, parsed.term))
        rows.append((label, *summary_of(series)))
        told.append(f"{label} from {number_of(series.values[0])} to {number_of(series.values[-1])}")
    return Figure(
        key=f"component-{name}",
        title=name,
        description=f"{name}: {'; '.join(told)}.",
        data=data,
        layout={"xaxis": {"title": {"text": "step"}}, "yaxis": axis_of(scale_of(trained, held))},
        term=parsed.term,
        height=230,
        rows=tuple(rows),
    )


def share_figure(
    shares: Shares,
    colours: Mapping[str, str],
    *,
    key: str = "shares",
    title: str = "What each term adds to the loss",
    described: str = "Weighted values as shares of their sum.",
    note: str = "",
) -> Figure:
    """Return the stacked shares of the terms, by default those of the weighted values."""
    ends = shares.at_the_end()
    data: list[Trace] = []
    for name, values in shares.terms.items():
        style = {"color": colours.get(name, _TOTAL_COLOUR)}
        area = {"type": "scatter", "mode": "lines", "stackgroup": "shares", "line": {"width": 0.5, **style}}
        drawn = area if len(shares.steps) > 1 else {"type": "bar", "marker": style}  # an area needs a width
        data.append(
            {
                **drawn, "name": plain(name), "x": shares.steps.tolist(), "y": _listed(100 * values),
                "hovertemplate": "%{y:.1f} %", "meta": {"term": name},
            }
        )  # fmt: skip
    told = ", ".join(f"{name} {share:.1%}" for name, share in ends.items())
    return Figure(
        key=key,
        title=title,
        description=f"{described} In the last quarter: {told}.",
        data=data,
        layout={
            "xaxis": {"title": {"text": "step"}}, "yaxis": {"title": {"text": "%"}, "range": [0, 100]},
            "hovermode": "x unified", "barmode": "stack",
        },
        rows=(
            ("term", "share in the last quarter"),
            *((name, f"{share:.1%}") for name, share in ends.items()),
        ),
        terms=tuple(shares.terms),
        note=note,
    )  # fmt: skip


def weighted_figure(history: History, colours: Mapping[str, str]) -> Figure:
    """Return the weighted terms over each other."""
    data, rows = [], [("term", "first", "last")]
    for name, weight in history.weights.items():
        series = history.train.get(name)
        if series is None:
            continue
        weights = np.interp(series.steps, weight.steps, np.nan_to_num(weight.values))
        weighted = Series(steps=series.steps, values=series.values * weights)
        style = {"width": 1.5, "color": colours[name]}
        data.append(curve(weighted, name, "lines", style, name))
        rows.append((name, number_of(weighted.values[0]), number_of(weighted.values[-1])))
    return Figure(
        key="weighted",
        title="Weighted terms",
        description="Each term times its weight, as the optimizer sees it.",
        data=data,
        layout={"xaxis": {"title": {"text": "step"}}, "yaxis": axis_of("log"), "hovermode": "x unified"},
        rows=tuple(rows),
        terms=tuple(history.weights),
    )


def setting_figures(history: History, colours: Mapping[str, str]) -> list[Figure]:
    """Return the weights and, where it is recorded, the learning rate over time."""
    figures = []
    if history.learning_rate is not None:
        series = history.learning_rate
        figures.append(
            Figure(
                key="learning-rate", title="Learning rate",
                description=f"From {number_of(series.values[0])} to {number_of(series.values[-1])}.",
                data=[curve(series, "learning rate", "lines", {"width": 1.5, "color": _TOTAL_COLOUR})],
                layout={"xaxis": {"title": {"text": "step"}}, "yaxis": {"tickformat": "~g"}}, height=230,
                rows=(("", "records", "first", "last", "least", "at step"), ("rate", *summary_of(series))),
            )
        )  # fmt: skip
    if history.weights:
        told = ", ".join(
            f"{name} from {number_of(series.values[0])} to {number_of(series.values[-1])}"
            for name, series in history.weights.items()
        )
        figures.append(
            Figure(
                key="weights", title="Weights", description=f"{told}.",
                data=[
                    curve(series, name, "lines", {"width": 1.5, "color": colours[name]}, name)
                    for name, series in history.weights.items()
                ],
                layout={
                    "xaxis": {"title": {"text": "step"}}, "hovermode": "x unified",
                    "yaxis": axis_of(scale_of(*history.weights.values())),
                },
                height=260,
                rows=(
                    ("term", "records", "first", "last", "least", "at step"),
                    *((name, *summary_of(series)) for name, series in history.weights.items()),
                ),
                terms=tuple(history.weights),
            )
        )  # fmt: skip
    return figures


def unit_figure(
    variance: NDArray[np.float64], divergence: NDArray[np.float64] | None, active: float, levels: int
) -> Figure:
    """Return the KL divergence of each latent unit or, without it, its variance.

    The first `levels` units are levels, which are measured and not learned.
    """
    values = variance if divergence is None else divergence
    used, level = variance > active, np.arange(len(variance)) < levels
    kinds = (
        ("levels, measured", level, _TOTAL_COLOUR),
        ("active", used & ~level, _COLOURS[0]),
        ("not active", ~used & ~level, _COLOURS[1]),
    )
    data: list[Trace] = [
        {
            "type": "bar", "name": name,
            "x": np.flatnonzero(chosen).tolist(), "y": _listed(values[chosen]),
            "marker": {"color": colour}, "hovertemplate": "unit %{x}: %{y:.3g}",
        }
        for name, chosen, colour in kinds
        if chosen.any()
    ]  # fmt: skip
    what = "variance" if divergence is None else "KL, nats"
    return Figure(
        key="units",
        title="Variance per latent unit" if divergence is None else "KL divergence per latent unit",
        description=f"{int(used.sum())} of {len(used)} units are active.",
        data=data,
        layout={
            "xaxis": {"title": {"text": "unit"}}, "yaxis": {"title": {"text": what}},
            "barmode": "overlay", "bargap": 0,
        },
        height=260,
        rows=(
            ("", "least", "median", "largest"),
            (what, *(number_of(value) for value in (values.min(), np.median(values), values.max()))),
        ),
    )  # fmt: skip


def map_figure(
    names: Sequence[str],
    positions: NDArray[np.float64],
    plays: Sequence[bool],
    explained: tuple[float, float],
) -> Figure:
    """Return the map of the recordings. `plays` says which have a sound."""
    return Figure(
        key="map",
        title="Map of the recordings",
        description=f"{len(names)} training recordings; near each other where their mean latents are alike.",
        data=[
            {
                "type": "scatter", "mode": "markers",
                "x": _listed(positions[:, 0]), "y": _listed(positions[:, 1]),
                "text": [plain(name) for name in names], "customdata": list(range(len(names))),
                "hovertemplate": "%{text}<extra></extra>",
                "marker": {
                    "size": 11, "color": [_COLOURS[0] if each else _TOTAL_COLOUR for each in plays],
                    "line": {"width": 0},
                },
            }
        ],
        layout={
            "xaxis": {"title": {"text": f"first axis ({whole_percentage(explained[0])} of the variance)"}},
            "yaxis": {"title": {"text": f"second axis ({whole_percentage(explained[1])})"}},
            "showlegend": False, "hovermode": "closest",
        },
        height=420,
    )  # fmt: skip


def curve(series: Series, name: str, mode: str, style: Mapping[str, Any], term: str = "") -> Trace:
    """Return a curve, thinned if it is long, of a term if one is named. A single value has a marker."""
    thin = series.thinned(_MOST_POINTS)
    return {
        "type": "scatter", "mode": mode if len(thin) > 1 else "lines+markers", "name": plain(name),
        "x": thin.steps.tolist(), "y": _listed(thin.values), "line": dict(style),
        "marker": {"size": 5, "color": style["color"]}, "hovertemplate": "%{y:.4g}", "meta": {"term": term},
    }  # fmt: skip


def plain(text: str) -> str:
    """Return text of which Plotly, which knows some tags of HTML, makes nothing else."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _listed(values: NDArray[np.float64]) -> list[float | None]:
    """Return numbers with six digits, and None for those that are not finite."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in values]


def axis_of(scale: str) -> dict[str, Any]:
    """Return an axis; a logarithmic one has ticks at 1, 2 and 5 in a decade."""
    return {"type": scale, "dtick": "D2", "tickformat": "~g"} if scale == "log" else {"type": scale}


def scale_of(*several: Series | None) -> str:
    """Return `log` if the values are at least 0 and those above it span more than a factor of 20."""
    values = np.concatenate([each.finite for each in several if each is not None])
    above = values[values > 0]
    wide = values.min() >= 0 and len(above) and above.max() > _WIDE * above.min()
    return "log" if wide else "linear"


def summary_of(series: Series) -> tuple[str, ...]:
    """Return the number of values, the first, the last, the least, and its step, as text."""
    least = int(np.nanargmin(series.values))
    return (
        f"{len(series)}",
        number_of(series.values[0]),
        number_of(series.values[-1]),
        number_of(series.values[least]),
        str(series.steps[least]),
    )


def number_of(value: float) -> str:
    """Return a number as text."""
    return f"{value:.4g}" if np.isfinite(value) else "not finite"

"""The figures of the gradients of loss terms: shares over time, and a heat map of cosines. Loads no torch."""

from collections.abc import Mapping

import numpy as np

from distill.reporting.figures import Figure, plain, share_figure
from distill.reporting.history import History
from distill.reporting.shares import Cosines, cosines_of, gradient_shares_of

_COLOURS = [[0, "#c4661f"], [0.5, "#f4f4f2"], [1, "#2f6db5"]]
"""From -1, orange, over light grey to 1, blue, which people who see no red or green can tell apart."""

_CELL, _FEWEST_CELLS = 34, 5


def gradient_figures(history: History, colours: Mapping[str, str]) -> list[Figure]:
    """Return the figures of what is recorded of the gradients, none if nothing is."""
    figures = []
    at_output = gradient_shares_of(history.gradient_shares)
    if at_output is not None:
        figures.append(
            share_figure(
                at_output,
                colours,
                key="gradient-shares",
                title="Shares of the gradient at the model's output",
                described="Norms of the weighted terms' gradients as shares of their sum.",
            )
        )
    of_weights = gradient_shares_of(history.parameter_shares)
    if of_weights is not None:
        figures.append(
            share_figure(
                of_weights,
                colours,
                key="parameter-shares",
                title="Shares of the gradient of the model's weights",
                described="Norms of the gradients of all trained weights as shares of their sum.",
            )
        )
    cosines = cosines_of(history)
    return [*figures, cosine_figure(cosines)] if cosines is not None else figures


def cosine_figure(cosines: Cosines) -> Figure:
    """Return the heat map of the mean cosines, with the numbers in its cells."""
    names = [plain(name) for name in cosines.names]
    table = [
        [None if np.isnan(mean) else round(float(mean), 2) + 0.0 for mean in row] for row in cosines.means
    ]
    shown = [["" if mean is None else f"{mean:z.2f}" for mean in row] for row in table]
    pairs = [
        (f"{cosines.names[row]} and {cosines.names[column]}", float(cosines.means[row, column]))
        for row in range(len(names))
        for column in range(row)
        if np.isfinite(cosines.means[row, column])
    ]
    told = [f"{pair} {mean:z.2f}" for pair, mean in sorted(pairs, key=lambda each: each[1])]
    said = ", ".join(told if len(told) <= _FEWEST_CELLS else [*told[:3], "...", told[-1]])
    return Figure(
        key="cosines",
        title="Cosines between the gradients of two terms",
        description=f"Means over the last quarter, {cosines.measurements} measurements: {said}. "
        "Above 0 two terms pull in the same direction, below 0 they work against each other.",
        data=[
            {
                "type": "heatmap", "x": names, "y": names, "z": table, "zmin": -1, "zmax": 1,
                "colorscale": _COLOURS, "text": shown, "texttemplate": "%{text}", "xgap": 1, "ygap": 1,
                "colorbar": {"thickness": 8, "outlinewidth": 0, "tickvals": [-1, 0, 1]},
                "hovertemplate": "%{y} and %{x}: %{z:.2f}<extra></extra>", "hoverongaps": False,
            }
        ],
        layout={
            "xaxis": {"type": "category", "showgrid": False},
            "yaxis": {"type": "category", "showgrid": False, "autorange": "reversed"},
            "hovermode": "closest",
        },
        height=110 + _CELL * max(_FEWEST_CELLS, len(names)),
        rows=(
            ("cosine", *cosines.names),
            *((name, *(cell or "-" for cell in row)) for name, row in zip(cosines.names, shown, strict=True)),
        ),
    )  # fmt: skip

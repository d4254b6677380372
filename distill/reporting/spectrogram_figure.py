"""The figure of mel spectrograms, as data for Plotly. Loads no torch."""

import base64
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from distill.reporting.figures import Figure, plain

_MAGMA = (
    "#000004", "#1c1044", "#4f127b", "#812581", "#b5367a", "#e55064", "#fb8761", "#fec287", "#fcfdbf",
)  # fmt: skip
_PITCHES = 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000


def spectrogram_figure(
    key: str,
    title: str,
    levels: Mapping[str, NDArray[np.int8]],
    hertz: NDArray[np.float64],
    seconds: float,
    short: Mapping[str, str] = MappingProxyType({}),
) -> Figure:
    """Return mel spectrograms by name, one above the other, with a common axis of time.

    `short` has names for the axes of those whose own are too long.
    """
    colours = [[number / (len(_MAGMA) - 1), colour] for number, colour in enumerate(_MAGMA)]
    count = len(levels)
    step = seconds / max(1, next(iter(levels.values())).shape[1] - 1)
    axes = ["y", *(f"y{number}" for number in range(2, count + 1))]
    data = [
        {
            "type": "heatmap", "z": _packed(values), "x0": 0, "dx": step, "zmin": -80, "zmax": 0,
            "zsmooth": False, "colorscale": colours, "yaxis": axis, "name": plain(name),
            "showscale": axis == "y",
            "colorbar": {"title": {"text": "dB"}, "thickness": 8, "len": 1, "outlinewidth": 0},
            "customdata": None,
            "hovertemplate": f"{plain(name)}<br>%{{x:.2f}} s<br>%{{z}} dB<extra></extra>",
        }
        for axis, (name, values) in zip(axes, levels.items(), strict=True)
    ]  # fmt: skip
    ticks: list[tuple[float, int]] = []
    for each in _PITCHES:  # the lowest ones share a band
        place = float(np.argmin(np.abs(hertz - each)))
        if each < 1.02 * hertz[-1] and (not ticks or place - ticks[-1][0] > len(hertz) / 12):
            ticks.append((place, each))
    pitch = {
        "tickvals": [place for place, _ in ticks],
        "ticktext": [f"{each / 1000:g}k" if each >= 1000 else str(each) for _, each in ticks],
        "showgrid": False, "zeroline": False,
    }  # fmt: skip
    gap = 0.06
    share = (1 + gap) / count
    rows = {
        f"yaxis{axis[1:]}": {
            **pitch,
            "domain": [max(0.0, 1 - share * (number + 1) + gap), 1 - share * number],
            "title": {"text": f"{plain(short.get(name, name))}, Hz"},
            **({"anchor": "x"} if number else {}),
        }
        for number, (axis, name) in enumerate(zip(axes, levels, strict=True))
    }
    return Figure(
        key=key,
        title=title,
        description=f"Mel spectrograms of {title}, from above: {', '.join(levels)}.",
        data=data,
        layout={
            "xaxis": {"title": {"text": "seconds"}, "anchor": axes[-1], "showgrid": False, "zeroline": False},
            **rows,
        },
        height=30 + 150 * count,
    )


def _packed(values: NDArray[np.int8]) -> dict[str, str]:
    """Return an array as Plotly reads it in a quarter of the space of a list."""
    data = base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
    return {"dtype": "i1", "bdata": data, "shape": ", ".join(map(str, values.shape))}

"""Tests of distill.cli.dashboard: what a terminal shows fits, whatever its size and its letters."""

import io

import pytest
from rich.console import Console

from distill.cli.dashboard import Dashboard
from distill.training.record import Record

LONG = "a_term_with_a_name_that_is_longer_than_a_line_of_many_terminals"


def record(step, names, split="train"):
    """Return a record in which every component falls."""
    components = dict.fromkeys(("total", *names), 100.0 / step)
    return Record(
        step=step, split=split, seconds=1.0 * step, components=components, weights={}, progress=step / 1000,
        audio_rate=50.0,
    )  # fmt: skip


def shown(width, height=24, names=("stft", LONG), encoding="utf-8"):
    """Return the lines that a terminal of this size shows."""
    file = io.TextIOWrapper(io.BytesIO(), encoding)
    console = Console(file=file, width=width, height=height, force_terminal=True, color_system=None)
    dashboard = Dashboard()
    dashboard.length = " of 1000"
    for step in range(10, 510, 10):
        dashboard.add(record(step, names))
    dashboard.add(record(500, names, "heldout"))
    console.print(dashboard)
    file.flush()
    return file.buffer.getvalue().decode(encoding).splitlines()


@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 200])
def test_no_line_is_wider_than_the_terminal(width):
    """Each component has a line that leaves out what does not fit and shortens a long name in its middle."""
    lines = shown(width)
    assert max(map(len, lines)) <= width
    components = [line for line in lines if line.startswith(("total", "stft", "a_"))]
    assert len(components) == 3
    assert all(" 0.2" in line for line in components)
    assert all("_" in line and ".." in line for line in components[2:])
    assert ("▁" in lines[-1]) == (width > 55)


def test_what_does_not_fit_beside_the_bar_is_left_out():
    """The speed is left out first, then the time left. The step is always shown."""
    heads = [shown(width)[0].partition("% ")[2] for width in (80, 60, 40)]
    assert heads == [
        "step 500 of 1000, 8.3 min left, 50 s of audio per s", "step 500 of 1000, 8.3 min left",
        "step 500 of 1000",
    ]  # fmt: skip


def test_thirty_terms_on_a_low_terminal():
    """Terms fill the lines, and the last line counts the terms that are not shown."""
    lines = shown(80, 24, names=[f"term_{number}" for number in range(30)])
    assert len(lines) <= 24
    assert lines[-1] == "and 12 more"


def test_letters_that_an_encoding_lacks_are_replaced():
    """Blocks and bars become ASCII characters."""
    lines = shown(80, encoding="ascii")
    assert lines[2].endswith("__")
    assert "----" in lines[0]


def test_a_term_that_changes_nothing_hides_nothing():
    """Once gradients show that a term changes nothing, the total is without it, and its line is the last."""
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, color_system=None)
    dashboard = Dashboard()
    shares = {"stft": 1.0, "kl": 0.0}

    def add(step, split="train", gradients=None):
        components = {"total": 4.0 + step, "kl": 400.0, "stft": 10.0 / step}
        dashboard.add(
            Record(
                step=step, split=split, seconds=1.0, components=components, weights={"kl": 0.01, "stft": 2.0},
                progress=0.5, audio_rate=1.0, gradients=gradients,
            )
        )  # fmt: skip

    add(10)
    add(10, "heldout")
    assert [*dashboard.curves] == ["total", "kl", "stft"]
    add(20, gradients={"shares": shares, "parameter_shares": shares})
    add(40)
    console.print(dashboard)
    assert [line.rstrip() for line in file.getvalue().splitlines()[1:]] == [
        "                 trained   held-out  at step 10",
        "total less kl        0.5          2  █▁",
        "stft                0.25          1  █▃▁",
        "kl                   400        400  changes nothing",
    ]

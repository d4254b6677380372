"""Tests of distill.cli.measurements: bars on a terminal alone."""

import io

import pytest
from rich.console import Console

from distill.audio.progress import Progress
from distill.cli.measurements import evaluation_progress


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_moves_on_a_terminal_alone(terminal):
    """A terminal shows how much of the whole has been measured, and a name is no markup."""
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal, color_system=None)
    with evaluation_progress(console) as on_progress:
        on_progress(Progress(stage="decoding", done=3, total=3))
        on_progress(Progress(stage="measuring", done=1, total=4, item="[red]a.wav: model"))
        on_progress(Progress(stage="measuring", done=2, total=4, item="[red]b\x1b.wav: linear code"))
        on_progress(Progress(stage="map", done=5, total=7))
    shown = console.file.getvalue()
    if not terminal:
        assert shown == ""
        return
    assert "3/3" in shown
    assert "2/4" in shown
    assert "5/7" in shown
    assert "[red]b\N{REPLACEMENT CHARACTER}.wav: linear code" in shown

"""What is shown of measures: a bar on a terminal alone, numbers that keep their columns, names as data."""

import io

import attrs
import pytest
from rich.console import Console

from distill.cli.measurements import (
    evaluation_progress,
    mean_note,
    print_contenders,
    print_recordings,
    printable,
)
from distill.evaluation import Evaluation, Metrics, Result

METRICS = Metrics(
    log_spectral_distance=4.321,
    multi_resolution_stft=1.5,
    snr=0.0,
    si_sdr=-10.0,
    level_difference=-3.04,
    peak=0.5,
    mel=3.0,
    tones=0.5,
    texture=4.0,
    original_texture=6.0,
    zimtohrli=4.0,
    visqol=4.2,
)


def evaluation(*metrics):
    """Make an evaluation of recordings named by letters."""
    return Evaluation(
        tuple(Result(name=name, metrics=each) for name, each in zip("abcdef", metrics, strict=False))
    )


@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_moves_on_a_terminal_alone(terminal):
    """With what has been measured and how much there is; a name is no markup."""
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal, color_system=None)
    with evaluation_progress(console, 4) as on_progress:
        on_progress("model", "[red]a.wav")
        on_progress("linear_code", "b\x1b.wav")
    shown = console.file.getvalue()
    if not terminal:
        assert shown == ""
        return
    assert "2/4" in shown
    assert "b\N{REPLACEMENT CHARACTER}.wav: linear code" in shown


def test_every_measure_has_a_column(capsys):
    """Heads over numbers, which keep their columns however large they are; terms follow."""
    loud = attrs.evolve(METRICS, level_difference=-200.0, mel=123.4, tones=None, terms={"stft": 0.12345})
    model = attrs.evolve(METRICS, terms={"stft": 1.5})
    print_contenders(
        {"model": evaluation(model), "silence": evaluation(loud)}, ["zimtohrli", "visqol"]
    )  # fmt: skip
    assert capsys.readouterr().out.splitlines() == [
        "                                                     level dB",
        "              Zimtohrli ViSQOL tones texture  mean  abs worst  mel   LSD MR-STFT  stft",
        "model              4.00   4.20  0.50     4.0  -3.0  3.0  -3.0  3.0  4.32    1.50   1.5",
        "silence            4.00   4.20     -     4.0  -200  200  -200  123  4.32    1.50 0.123",
        "originals                                6.0",
    ]


def test_recordings_are_listed_the_worst_first(capsys):
    """Up to a number, with what is known of them."""
    result = evaluation(METRICS, *(attrs.evolve(METRICS, zimtohrli=value) for value in (2.0, 3.0, 5.0)))
    print_recordings(result, {"a": True, "b": False}, ["zimtohrli"], 3)
    assert capsys.readouterr().out.splitlines() == [
        "",
        " Zimtohrli tones texture original's level  mel   LSD trained on  worst first",
        "      2.00  0.50     4.0        6.0  -3.0  3.0  4.32         no  b",
        "      3.00  0.50     4.0        6.0  -3.0  3.0  4.32          ?  c",
        "      4.00  0.50     4.0        6.0  -3.0  3.0  4.32        yes  a",
        "and 1 more: --files 4",
    ]


def test_the_note_tells_what_the_mean_is_of():
    """How many recordings, how many of them trained on, and how few have tones."""
    result = evaluation(METRICS, attrs.evolve(METRICS, tones=None))
    assert mean_note(result, {"a": True}).startswith(
        "Mean over 2 of 2 recordings, 1 of them trained on (tones: over 1). Best: "
    )
    assert mean_note(evaluation(METRICS), {"a": False}).startswith("Mean over 1 of 1 recordings. Best: ")


def test_a_name_does_not_steer_the_terminal():
    """Letters of any script are kept."""
    assert printable("鐘/ä b.wav") == "鐘/ä b.wav"
    assert printable("a\x1b[2J\n.wav") == "a\N{REPLACEMENT CHARACTER}[2J\N{REPLACEMENT CHARACTER}.wav"

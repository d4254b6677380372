"""Tests of distill.cli.display: what is shown, on a terminal of 80 columns and off it."""

import io
import json
import time
from pathlib import Path
from types import SimpleNamespace

import attrs
import pytest
from rich.console import Console

from distill.audio.corpus.levels import Remark
from distill.audio.corpus.scanning import Skipped
from distill.audio.progress import Progress
from distill.audio.soundfiles import Written
from distill.cli.display import Display, corpus_progress, in_words, say, say_written
from distill.model.building import make_model, make_representation
from distill.plugin.registry import Registry
from distill.recipe import read_recipe
from distill.storage.run import Run
from distill.training.observing import Extent, Outcome, Summary, TrainingWarning
from distill.training.record import Record
from distill.training.retention import Retention

TRAIN = Record(
    step=1234,
    split="train",
    seconds=30.0,
    components={
        "total": 2.3456789,
        "waveform": 1.9876543,
        "reconstruction": 2.1234567,
        "reconstruction/magnitude": 7.77,
        "kl": 12.3456,
        "band_energy": 0.456789,
        "gradient_norm": 8.88,
    },
    weights={"waveform": 1.0},
    progress=0.25,
    audio_rate=123.4,
)
HELDOUT = attrs.evolve(TRAIN, split="heldout", components={"total": 2.5, "waveform": 2.25}, audio_rate=0.0)


def console(*, terminal, width=80):
    """Make a console that writes to memory."""
    return Console(file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)


def shown_last(on):
    """Return the lines of the last frame that a terminal showed, without escape codes for lines."""
    text = on.file.getvalue().rpartition("\x1b[2K")[2]
    return [line.rstrip() for line in text.replace("\x1b[?25h", "").splitlines()]


def test_a_terminal_shows_the_progress_and_every_component():
    """A terminal shows a bar with step, time left and speed, then values and a curve for each component."""
    on = console(terminal=True)
    with Display(on) as display:
        display.dashboard.length = " of 5000"
        display.live.start()
        display.record(HELDOUT)
        display.record(TRAIN)
        display.record(attrs.evolve(TRAIN, components={**TRAIN.components, "total": 1.0}))
        display.live.refresh()
    bar, *rest = shown_last(on)
    assert "25%" in bar
    assert bar.endswith("step 1234 of 5000, 90 s left, 123 s of audio per s")
    assert rest == [
        "                  trained   held-out  at step 1234",
        "total                   1        2.5  █▁",
        "waveform            1.988       2.25  ▁▁",
        "reconstruction      2.123          -  ▁▁",
        "kl                  12.35          -  ▁▁",
        "band_energy        0.4568          -  ▁▁",
    ]


@pytest.mark.parametrize(
    ("seconds", "progress", "left"),
    [(30.0, 0.25, "90 s"), (600.0, 0.5, "10.0 min"), (100.0, 1.0, "0 s"), (121.0, 0.5, "2.0 min")],
)
def test_time_left_is_in_proportion(seconds, progress, left):
    """The time left is in proportion to the time spent, in seconds below two minutes, else in minutes."""
    on = console(terminal=True)
    with Display(on) as display:
        display.live.start()
        display.record(attrs.evolve(TRAIN, seconds=seconds, progress=progress))
    assert f", {left} left" in on.file.getvalue()


@pytest.mark.parametrize("dumb", [False, True])
def test_a_log_has_lines(monkeypatch, dumb):
    """A log or dumb terminal gets whole lines: each held-out measurement, and the training every 30 s."""
    monkeypatch.setenv("TERM", "dumb" if dumb else "xterm")
    on = console(terminal=dumb)
    with Display(on) as display:
        display.dashboard.length = " of 5000"
        display.record(attrs.evolve(HELDOUT, step=1))
        for step, seconds in ((1234, 45.0), (1500, 60.0), (1600, 61.0)):
            display.record(attrs.evolve(TRAIN, step=step, seconds=seconds))
        display.record(attrs.evolve(HELDOUT, step=1600, seconds=61.0))
        display.progress(Progress(stage="keeping", done=1, total=6))
        display.progress(Progress(stage="keeping", done=2, total=6))
        later = time.monotonic() + 31
        monkeypatch.setattr("time.monotonic", lambda: later)
        display.progress(Progress(stage="keeping", done=3, total=6))
        display.progress(Progress(stage="page", done=0, total=1))
    if dumb:
        assert max(map(len, on.file.getvalue().splitlines())) <= 80
    trained = "total 2.346  waveform 1.988  reconstruction 2.123  kl 12.35  band_energy 0.4568"
    assert on.file.getvalue().replace("\n  ", "  " if dumb else "") == (
        "step 1 of 5000, 90 s left: held-out total 2.5  waveform 2.25\n"
        f"step 1500 of 5000, 3.0 min left: trained {trained}\n"
        f"step 1600 of 5000, 3.0 min left: held-out total 2.5  waveform 2.25, trained {trained}\n"
        "Measuring how much of the training to keep: 1 of 6 ...\n"
        "Measuring how much of the training to keep: 3 of 6 ...\n"
        "Making the page of the run ...\n"
    )


def test_a_log_leaves_out_what_changes_nothing():
    """A line says once which term changes nothing; values of another step than the line's name their step."""
    on = console(terminal=False)
    display = Display(on)
    shares = {"waveform": 1.0, "kl": 0.0}
    record = attrs.evolve(
        TRAIN, step=10, seconds=45.0, components={"total": 4.5, "waveform": 0.5, "kl": 400.0},
        weights={"waveform": 1.0, "kl": 0.01}, gradients={"shares": shares, "parameter_shares": shares},
    )  # fmt: skip
    display.record(record)
    display.record(attrs.evolve(record, step=20, seconds=46.0))
    display.record(attrs.evolve(record, step=25, split="heldout", seconds=47.0, gradients=None))
    shown = "total less kl 0.5  waveform 0.5"
    assert on.file.getvalue().splitlines() == [
        "kl changes nothing in the model, since the gradient is 0: totals are without it.",
        f"step 10, 2.2 min left: trained {shown}",
        f"step 25, 2.4 min left: held-out {shown}, trained at step 20 {shown}",
    ]


def test_a_resumed_run_knows_what_changes_nothing(tiny_tree, tmp_path):
    """The gradients in the records of a resumed run hold until they are measured again."""
    on, shares = console(terminal=False), {"waveform": 1.0, "kl": 0.0}
    record = attrs.evolve(
        TRAIN, step=10, components={"total": 4.5, "waveform": 0.5, "kl": 400.0},
        weights={"waveform": 1.0, "kl": 0.01}, gradients={"shares": shares, "parameter_shares": shares},
    )  # fmt: skip
    run = Run(tmp_path)
    run.metrics.write_text(json.dumps(attrs.asdict(record)) + "\n")
    display = Display(on)
    display.summary(attrs.evolve(Shown(tiny_tree).told, run=run))
    display.record(attrs.evolve(record, step=20, split="heldout", seconds=47.0, gradients=None))
    assert on.file.getvalue().splitlines()[-2:] == [
        "kl changes nothing in the model, since the gradient is 0: totals are without it.",
        "step 20, 10 min in all, 2.4 min left: held-out total less kl 0.5  waveform 0.5",
    ]


def test_lines_of_a_long_training_come_more_rarely():
    """The lines are a fiftieth of the elapsed time apart: after ten hours they are twelve minutes apart."""
    on = console(terminal=False)
    display = Display(on)
    for minute in range(600, 660):
        display.record(attrs.evolve(TRAIN, seconds=60.0 * minute))
    assert len(on.file.getvalue().splitlines()) == 5


def test_a_warning_stands_in_a_frame():
    """A warning has a title and its whole text, on a terminal and off it alike."""
    for terminal in (True, False):
        on = console(terminal=terminal)
        with Display(on) as display:
            message = "The held-out loss has risen 5 evaluations in a row, which takes more than a line."
            display.warning(TrainingWarning(about="overfitting", message=message))
        text = on.file.getvalue()
        assert "─ Warning ─" in text
        assert "The held-out loss has risen 5 evaluations in a row" in text


def test_decoding_is_shown_on_a_terminal_only():
    """A bar counts the files; a log has none of it."""
    for terminal in (True, False):
        on = console(terminal=terminal)
        with corpus_progress(on) as show:
            show(3, 7)
            if terminal:
                on._live_stack[0].refresh()  # noqa: SLF001  # at once, not when rich next does
        assert ("Decoding recordings" in on.file.getvalue()) == terminal
        assert ("3/7" in on.file.getvalue()) == terminal


class Shown:
    """The lines of a summary."""

    def __init__(self, tree, *, skipped=0, remarks=0, width=300):
        draft = read_recipe(tree, Registry(discover=False), loss="stft,kl")
        representation = make_representation(draft.recipe.representation)
        corpus = SimpleNamespace(
            folder=Path("/sounds/[old] takes"),
            train=SimpleNamespace(recordings=[1, 2, 3], seconds=150.0),
            heldout=SimpleNamespace(recordings=[1, 2], seconds=0.3),
            skipped=[Skipped(f"[{number}].wav", "is [not] audio") for number in range(skipped)],
            remarks=[Remark(f"[{number}].wav", "is [too] quiet") for number in range(remarks)],
        )
        on = console(terminal=False, width=width)
        self.model = make_model(draft.recipe.model, representation, seed=0)
        told = Summary.of(
            draft,
            Run(Path("run")),
            corpus,
            self.model,
            start="the base model, 0123",
            device="cpu",
            precision="float32",
        )
        self.told = told
        Display(on).summary(told)
        self.lines = [" ".join(line.split()) for line in on.file.getvalue().splitlines()]


def test_the_summary_says_what_is_about_to_happen(tiny_tree):
    """The summary names terms, weights, origins, corpus, model size and device; a path is no markup."""
    told = Shown(tiny_tree)
    millions = sum(each.numel() for each in told.model.parameters()) / 1e6
    origin = read_recipe({}, Registry(discover=False), loss="stft").recipe.provenance["stft"]
    assert told.lines == [
        f"loss stft, weight 1 {origin}",
        f"loss kl, weight 0 rising to 0.01 {origin}",
        "corpus /sounds/[old] takes",
        "3 recordings, 2.5 min, to train on",
        "2 recordings, 0.3 s, held out",
        f"model {millions:.1f} million parameters, 250 latents per second",
        "begins with the base model, 0123",
        "device cpu, float32",
    ]


def test_the_summary_lists_what_was_skipped(tiny_tree):
    """The summary names up to ten skipped files with their reasons, and counts the others."""
    lines = [line for line in Shown(tiny_tree, skipped=10).lines if "is [not] audio" in line]
    assert lines == [f"skipped [{number}].wav is [not] audio" for number in range(10)]
    lines = Shown(tiny_tree, skipped=13).lines
    assert sum("is [not] audio" in line for line in lines) == 10
    assert "and 3 more, in run/skipped.txt" in lines


def test_the_summary_remarks_on_recordings(tiny_tree):
    """The summary shows up to ten remarks on recordings, and counts the others."""
    lines = Shown(tiny_tree, remarks=12).lines
    assert [line for line in lines if "quiet" in line] == [
        f"note [{number}].wav is [too] quiet" for number in range(10)
    ]
    assert "and 2 more" in lines


def test_the_summary_fits_in_80_columns(tiny_tree):
    """No line of the summary is longer than 80 columns."""
    draft_lines = Shown(tiny_tree, skipped=3, width=80).lines
    assert max(map(len, draft_lines)) <= 80


def test_a_line_is_printed_as_it_is():
    """A path in a line is neither markup nor broken, however long."""
    on = console(terminal=False)
    text = "/a [bold]path[/bold] " + "long " * 30 + "end"
    say(on, text)
    assert on.file.getvalue() == text + "\n"


def test_written_files_are_named(capsys):
    """A file above full scale is listed with its peak, and one turned down with the decibels."""
    say_written(Written(path=Path("a.wav"), peak=0.5))
    say_written(Written(path=Path("b.wav"), peak=1.25))
    say_written(Written(path=Path("c.wav"), peak=1.0, attenuation=3.21))
    say_written(Written(path=Path("d.wav"), peak=1.0, attenuation=3.21, reduction=2.0))
    say_written(Written(path=Path("e.wav"), peak=1.0, attenuation=0.01, reduction=2.0))
    say_written(Written(path=Path("f.wav"), peak=1.0, attenuation=3.21, reduction=0.01))
    say_written(Written(path=Path("g.wav"), peak=1.0, attenuation=0.01))
    assert capsys.readouterr().out == (
        "a.wav\nb.wav  (peak 1.25, kept as 32-bit float)\nc.wav  (turned down by 3.2 dB)\n"
        "d.wav  (turned down by 3.2 dB, peaks by 2.0 dB more)\ne.wav  (peaks turned down by 2.0 dB)\n"
        "f.wav  (turned down by 3.2 dB)\ng.wav\n"
    )


BEGUN = "the model is the one that the training began with."


@pytest.mark.parametrize(
    ("retention", "words"),
    [
        (
            Retention(share=1.0, recordings=5),
            "Kept 100% of the training, which measured best on 5 recordings.",
        ),
        (
            Retention(share=0.125, recordings=1),
            "Kept 12.5% of the training, which measured best on 1 recording.",
        ),
        (Retention(share=0.25), "Kept 25% of the training, as training.keep says."),
        (
            Retention(share=0.0, recordings=10),
            (
                "Kept nothing of the training, since no share of it measured better on 10 recordings: "
                f"{BEGUN}\nMore recordings, more time or other terms may change that."
            ),
        ),
        (
            Retention(share=0.0),
            f"Kept nothing of the training, as training.keep says: {BEGUN}",
        ),
    ],
)
def test_how_much_is_kept_in_words(retention, words):
    """The text states the share of the training that is kept, why it is no greater, and what the model is."""
    assert in_words(retention) == words


def test_a_warning_before_the_training_goes_to_stderr(capsys):
    """An early warning is written to standard error, and the log on standard output stays empty."""
    on = console(terminal=False)
    Display(on).warning(TrainingWarning(about="recipe", message="training.free_bits is deprecated"))
    assert capsys.readouterr().err == "Warning: training.free_bits is deprecated\n"
    assert on.file.getvalue() == ""


def outcome(**changes):
    """Make an outcome of a new run on a folder, of which nothing was held out."""
    values = {
        "run": Run(Path("my run")),
        "step": 4,
        "resumed_at": None,
        "interrupted": False,
        "corpus": "sounds",
        "sharded": False,
        "heldout": Extent(seconds=0.0),
    }
    return Outcome(**values | changes)


@pytest.mark.parametrize(
    ("changes", "measured"),
    [
        ({}, "sounds"),
        ({"heldout": Extent(seconds=1.0, recordings=1)}, "--heldout"),
        ({"sharded": True}, "RECORDINGS"),
        ({"sharded": True, "heldout": Extent(seconds=1.0, recordings=1)}, "sounds"),
    ],
)
def test_what_to_do_next(changes, measured):
    """The display lists the commands to go on with, for the recordings that there are to be measured."""
    on = console(terminal=False)
    Display(on).done(outcome(**changes))
    assert on.file.getvalue() == (
        "Done.\nNext:\n"
        "  distill reconstruct 'my run' FILE... --out DIR\n"
        "  distill generate 'my run' -n 8 --out DIR\n"
        f"  distill evaluate 'my run' {measured}\n"
    )


@pytest.mark.parametrize(
    ("retention", "told"),
    [
        (Retention(share=0.0, recordings=3), True),
        (Retention(share=0.75, recordings=3), True),
        (Retention(share=1.0, recordings=3), False),
        (Retention(share=0.0), False),
    ],
)
def test_what_was_not_kept_can_be_kept(retention, told):
    """If less than all measured best, the display has the command that keeps all."""
    on = console(terminal=False)
    Display(on).done(outcome(retention=retention))
    keep = "To keep all of it, without training again:\n  distill train --resume --out 'my run' --set "
    assert on.file.getvalue().startswith(f"{in_words(retention)}\n")
    assert (f"{keep}training.keep=1\nDone.\n" in on.file.getvalue()) is told
    assert ("training.keep=1" in on.file.getvalue()) is told


@pytest.mark.parametrize("terminal", [True, False])
def test_on_a_terminal_one_thing_moves_at_a_time(tiny_tree, terminal):
    """A terminal shows one display at a time, from decoding to finishing, and none at the end."""
    on = console(terminal=terminal)
    with Display(on) as display:
        moving = [display.decoding.live, display.live, display.finishing.live]
        display.progress(Progress(stage="decoding", done=1, total=2))
        states = [[each.is_started for each in moving]]
        display.summary(Shown(tiny_tree).told)
        states.append([each.is_started for each in moving])
        display.record(TRAIN)
        display.progress(Progress(stage="keeping", done=5, total=6))
        display.progress(Progress(stage="finishing", done=0, total=2))
        display.progress(Progress(stage="finishing", done=1, total=2))
        if terminal:
            display.finishing.refresh()
            assert shown_last(on)[-1].startswith("Encoding the recordings ")
            assert shown_last(on)[-1].endswith(" 1/2")
        states.append([each.is_started for each in moving])
        display.done(outcome())
        states.append([each.is_started for each in moving])
    shown = [[True, False, False], [False, True, False], [False, False, True], [False] * 3]
    assert states == (shown if terminal else [[False] * 3] * 4)

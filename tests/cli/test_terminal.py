"""Tests of what a terminal shows while a command works for long: each phase has its name and its count."""

import os
import re
import shutil
import sys
import threading

import pytest

from distill.cli import main

pty = pytest.importorskip("pty")

BAR = r"\S+ +"
"""The bar between the name of a phase and its count."""

PHASES = {
    "evaluate": (
        ["evaluate", "RUN", "SOUNDS"],
        ["Decoding recordings BAR5/5", "Measuring BAR0/25", "Measuring BAR25/25"],
    ),
    "reconstruct": (["reconstruct", "RUN", "SOUNDS/a.wav", "--out", "new"], ["Reconstructing BAR[01]/1 s"]),
    "report": (["report", "RUN"], ["Measuring BAR1/1", "Making sounds for the map BAR4/4"]),
    "compare": (["compare", "RUN", "OTHER"], [r"Measuring BAR\d/\d"]),
    "shard": (["shard", "SOUNDS", "new", "--rate", "8000"], ["Decoding recordings BAR5/5"]),
    "profile": (
        ["losses", "profile", "--run", "RUN", "--batches", "2"],
        ["Measuring BAR0/2", "Measuring BAR2/2"],
    ),
    "ablate": (
        [
            "ablate",
            "SOUNDS",
            "--loss",
            "stft",
            "--set",
            "stft.weight=1,2",
            "--seeds",
            "1",
            "--steps",
            "1",
            "--out",
            "new",
            "TINY",
        ],
        ["0 of 2 runs BAR", "2 of 2 runs BAR"],
    ),
    "train": (
        [
            "train",
            "SOUNDS",
            "--loss",
            "recon,kl",
            "--steps",
            "2",
            "--out",
            "new",
            "TINY",
            "--set",
            "training.page=true",
        ],
        [
            "Decoding recordings BAR5/5",
            "100% step 2 of 2",
            "Calibrating the model to its error BAR0/2",
            "Encoding the recordings BAR0/4",
            "Writing sounds to listen to",
            "Making the page of the run",
        ],
    ),
    "train from a model": (
        [
            "train",
            "SOUNDS",
            "--loss",
            "recon,kl",
            "--steps",
            "2",
            "--out",
            "new",
            "TINY",
            "--set",
            "training.start=RUN",
        ],
        [r"Measuring how much of the training to keep BAR[0-9]+/30"],
    ),
}
"""Words of commands, and what a terminal shows of their phases."""


@pytest.fixture
def on_terminal(monkeypatch):
    """Run a command on a terminal of 200 columns, and return all that it showed, without colours."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    for variable in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(variable, raising=False)

    def run(words):
        shown = bytearray()
        ours, theirs = pty.openpty()

        def read():
            try:
                while part := os.read(ours, 65536):
                    shown.extend(part)
            except OSError:  # Linux: the other end is closed
                pass

        reader = threading.Thread(target=read)
        reader.start()
        try:
            with monkeypatch.context() as patch, open(theirs, "w") as terminal:  # noqa: PTH123  # a descriptor
                patch.setattr(sys, "stdout", terminal)
                patch.setattr(sys, "stderr", terminal)
                with pytest.raises(SystemExit) as caught:
                    main(words)
        finally:
            reader.join()
            os.close(ours)
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
        assert caught.value.code == 0, text
        return text

    return run


@pytest.mark.parametrize("command", PHASES)
def test_each_phase_shows_how_far_it_is(command, on_terminal, here, trained, compared_runs, recordings, tiny):
    """Whatever a command works on for long is named on a terminal, with how much of it is done."""
    words, expected = PHASES[command]
    shutil.copytree(trained.folder, here / "run")
    places = {"RUN": "run", "OTHER": str(compared_runs[1].folder), "SOUNDS": str(recordings)}
    given = []
    for word in words:
        placed = re.sub("|".join(places), lambda found: places[found[0]], word)
        given += tiny if word == "TINY" else [placed]
    shown = on_terminal(given)
    for phase in expected:
        assert re.search(phase.replace("BAR", BAR), shown), (phase, shown)

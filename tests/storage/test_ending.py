"""Tests of how a run ended, as its folder says."""

import json

import pytest

from distill.storage.ending import Ending, ending_of
from distill.storage.run import Run


@pytest.mark.parametrize(
    "ending",
    [
        Ending(state="finished", kept=0.25),
        Ending(state="interrupted"),
        Ending(state="failed", message="the loss is not finite"),
    ],
)
def test_an_ending_is_read_as_it_was_written(tmp_path, ending):
    """A lock that is left behind does not make an ended run a running one."""
    run = Run(tmp_path)
    ending.write(run)
    (tmp_path / ".lock").touch()
    assert ending_of(run) == ending


def test_a_run_that_a_process_trains_is_running(tmp_path):
    """A run with a lock and without an ending is running."""
    (tmp_path / ".lock").touch()
    assert ending_of(Run(tmp_path)) == Ending(state="running")


@pytest.mark.parametrize(
    ("progress", "latents", "state"),
    [(1.0, True, "finished"), (1.0, False, "interrupted"), (0.9, True, "interrupted")],
)
def test_a_run_that_says_nothing_is_judged_by_its_records(tmp_path, progress, latents, state):
    """The records decide for a run of Distill 0.2.0, or one that was killed."""
    run = Run(tmp_path)
    run.metrics.write_text(json.dumps({"step": 1, "split": "train", "progress": progress}) + "\n")
    if latents:
        run.latents.touch()
    assert ending_of(run).state == state


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"state": "asleep"}', "[" * 100_000, '{"state": []}'])
def test_what_is_no_outcome_says_nothing(tmp_path, text):
    """A damaged outcome, or one of another version, does not count as an ending."""
    run = Run(tmp_path)
    run.outcome.write_text(text)
    assert ending_of(run) == Ending(state="interrupted", damaged=True)


def test_numbers_and_words_of_another_kind_are_left_out(tmp_path):
    """Values of a wrong type or range are left out, as a page shows the others."""
    run = Run(tmp_path)
    for kept in ('"x"', "9" * 400, "NaN", "-1", "1e999", "true"):
        run.outcome.write_text(f'{{"state": "failed", "kept": {kept}, "message": 3}}')
        assert ending_of(run) == Ending(state="failed")

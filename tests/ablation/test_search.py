"""Searches of weights; `tests/cli/test_ablate.py` carries one out."""

import os
import sys

import pytest

import distill
from distill.ablation.choices import Range
from distill.ablation.spaces import WholeNumbers
from distill.ablation.studies import Study
from distill.errors import DistillError, RunError


@pytest.fixture
def study(tmp_path):
    """Return a function that opens one study again and again."""
    space = {
        "a.b": Range(0.01, 100.0),
        "a.c": WholeNumbers(low=2, high=5, logarithmic=True),
        "a.d": ([1, 2], "x"),
    }
    return lambda path="study.log": Study(path=tmp_path / path, space=space, better="lower", seed=0)


def test_a_study_goes_on_from_its_file_as_if_it_had_not_stopped(study):
    """What is proposed depends on the trials before it, and not on the process that asks."""
    numbers = []
    for path, opened in (("whole", study("whole")), ("parts", None)):
        for number in range(4):
            trial = (opened or study(path)).ask()
            assert trial.number == number
            assert 0.01 <= trial.options["a.b"] <= 100
            assert trial.options["a.c"] in range(2, 6)
            assert trial.options["a.d"] in ([1, 2], "x")
            (opened or study(path)).tell(number, None if number == 1 else trial.options["a.b"])
        numbers.append([each.options for each in study(path).trials()])
    assert numbers[0] == numbers[1]
    assert [each.state for each in study("parts").trials()] == ["done", "failed", "done", "done"]


def test_a_trial_that_was_interrupted_is_running_still(study):
    """It is carried out first when the search goes on."""
    asked = study().ask()
    (found,) = study().trials()
    assert (found.state, found.options) == ("running", asked.options)


def test_a_line_that_a_kill_has_cut_short_is_dropped(study):
    """A line that was cut short is removed, so that Optuna can read the file again."""
    first = study()
    number = first.ask().number
    with first.path.open("a") as file:
        file.write('{"op_code": 4, "wor')
    study().tell(number, 1.0)
    assert [each.value for each in study().trials()] == [1.0]


@pytest.mark.parametrize(
    "damage", ["x\n", "null\n", '{"op_code": 99}\n', "[" * 100_000 + "\n", "other", "pipe"]
)
def test_a_damaged_study_is_one_message(study, damage):
    """A damaged study, one of other options, and a pipe in its place are refused with one message."""
    found = study()
    found.ask()
    text = found.path.read_text()
    found.path.write_text(text.replace("a.b", "a.z") if damage == "other" else text + damage)
    if damage == "pipe":
        found.path.unlink()
        os.mkfifo(found.path)
    with pytest.raises(RunError) as caught:
        found.trials()
    problem = "cannot be read: it is not an ordinary file" if damage == "pipe" else "is damaged"
    assert str(caught.value) == (
        f"{found.path}: {problem}\nRestore it from a copy, or choose another folder with --out."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"measure": "mle"},
            (
                "measure: there is no measure 'mle'; did you mean 'mel'?\n"
                "Choose from: zimtohrli, tones, texture, level, mel, lsd, mr_stft"
            ),
        ),
        ({"trials": 0}, "trials: expected a whole number within 1..100000, got 0"),
        (
            {"ranges": {"training.seed": (1, 2)}},
            "training.seed: each run has a seed of its own; pass them with --seeds",
        ),
    ],
)
def test_a_search_that_makes_no_sense_is_one_message(recordings, options, message):
    """The error is raised before anything is trained."""
    given = {"loss": "stft", "ranges": {"stft.weight": (0.1, 10)}, "trials": 2} | options
    with pytest.raises(DistillError) as caught:
        distill.search_weights(recordings, **given)
    assert str(caught.value) == message


def test_without_optuna_a_search_says_how_to_install_it(recordings, monkeypatch):
    """The message says how to install Optuna, which is not needed otherwise."""
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(DistillError) as caught:
        distill.search_weights(recordings, loss="stft", ranges={"stft.weight": (0.1, 10)}, trials=2)
    assert str(caught.value) == (
        'search: a search needs Optuna, which is not installed\nInstall it: pip install "distill[search]"'
    )


def test_values_that_do_not_go_together_fail_their_trial_only(recordings, tmp_path):
    """A recipe that is not valid ends its trial, and not the search, which would meet it again."""
    both = {"representation.n_fft": [1024], "representation.hop": [1024]}  # each is valid by itself
    given = {"loss": "stft", "ranges": {}, "grid": both, "trials": 2, "steps": 1}
    found = distill.search_weights(recordings, **given, out=tmp_path / "out")
    assert [trial.state for trial in found.trials] == ["failed", "failed"]
    problem = "representation: n_fft must be even and at least twice the hop: n_fft = 1024, hop = 1024"
    assert found.failed == {"trial000": problem, "trial001": problem}
    assert str(found) == "No trial has a value."

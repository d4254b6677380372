"""Tests of lists of runs."""

import errno
import json
import os
from pathlib import Path

import pytest
from attrs import evolve

from distill.errors import RunError
from distill.reporting.listing import list_runs, sorted_runs
from distill.storage.ending import Ending
from distill.storage.run import Run


@pytest.fixture
def folder(tmp_path, records):
    """Return a folder of three runs: two with records, and one below the others with a damaged recipe."""
    for age, (name, totals, seconds) in enumerate(
        [("b", [(10, 3.0, 2.5)], 90), ("a", [(5, 1.0, None)], 300), ("deep/er/c", [], 0)]
    ):
        run = tmp_path / name
        run.mkdir(parents=True)
        (run / "recipe.toml").write_text("[loss.mel]\n[loss.kl]\n" if totals else "[loss")
        lines = [line | {"seconds": seconds} for line in records(totals)]
        for path in ("metrics.jsonl", "recipe.toml")[not totals :]:
            if path == "metrics.jsonl":
                (run / path).write_text("".join(f"{json.dumps(line)}\n" for line in lines))
            os.utime(run / path, (1e9 - age, 1e9 - age))
    (tmp_path / "no-run").mkdir()
    return tmp_path


def test_a_run_is_listed_with_what_its_records_say(folder):
    """A run is listed with its held-out loss, or with its training loss where there is none."""
    listed = {run.name: run for run in list_runs(folder)}
    assert listed.keys() == {"a", "b", "deep/er/c"}
    assert listed["b"].to_dict() | {"changed": ""} == {
        "name": "b", "folder": str(folder / "b"), "state": "interrupted", "kept": None,
        "terms": ["mel", "kl"], "steps": 10, "seconds": 90.0, "loss": 2.5, "still_terms": [],
        "loss_without_still_terms": None, "metrics": {"total": 2.5, "mel": 2.5, "kl": 1e-9},
        "split": "heldout", "changed": "", "problem": "",
    }  # fmt: skip
    assert (listed["a"].loss, listed["a"].split) == (1.0, "train")
    assert (listed["deep/er/c"].loss, listed["deep/er/c"].terms) == (None, ())
    assert str(folder / "deep/er/c" / "recipe.toml") in listed["deep/er/c"].problem


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("newest", ["b", "a", "deep/er/c"]),
        ("name", ["a", "b", "deep/er/c"]),
        ("state", ["a", "b", "deep/er/c"]),
        ("steps", ["b", "a", "deep/er/c"]),
        ("time", ["a", "b", "deep/er/c"]),
        ("loss", ["a", "b", "deep/er/c"]),
    ],
)
def test_the_order_is_as_asked(folder, order, names):
    """Runs are sorted as asked, the newest first by default; runs without a loss come last."""
    assert [run.name for run in sorted_runs(list_runs(folder), order)] == names


def test_a_run_itself_is_a_list_of_one(folder):
    """Its name is that of its folder."""
    assert [run.name for run in list_runs(folder / "b")] == ["b"]


def test_a_folder_that_is_missing_is_one_message(tmp_path):
    """The message about a missing folder says what to use instead."""
    with pytest.raises(RunError) as caught:
        list_runs(tmp_path / "none")
    assert (
        str(caught.value)
        == f"{tmp_path / 'none'}: there is no such folder\nPass the folder that holds the runs."
    )


@pytest.mark.parametrize("name", ["outcome.json", "metrics.jsonl", "recipe.toml", ".lock", ".lock.alive"])
def test_a_pipe_in_a_run_is_not_waited_for(folder, name):
    """A pipe in a run is skipped without waiting, and the other runs are listed."""
    (folder / "b" / name).unlink(missing_ok=True)
    os.mkfifo(folder / "b" / name)
    assert "a" in {run.name for run in list_runs(folder)}


def test_a_folder_in_the_place_of_the_records_is_told_of(folder):
    """It is named with the reason, as the page of the run refuses it."""
    (folder / "a/metrics.jsonl").unlink()
    (folder / "a/metrics.jsonl").mkdir()
    (found,) = list_runs(folder / "a")
    assert found.problem == f"{folder / 'a/metrics.jsonl'}: cannot be read: Is a directory"


def test_a_file_that_cannot_be_read_is_named(folder):
    """The line of a run names the file that is to blame, which need not be the recipe."""
    damaged = list_runs(folder / "deep/er/c")[0]
    assert damaged.cells()[-1] == "recipe.toml cannot be read"
    absurd = evolve(damaged, steps=10**300, seconds=1e300)
    assert absurd.cells()[2:4] == ("?", "?")
    assert absurd.to_dict()["steps"] == 10**300
    os.mkfifo(folder / "a" / "presets.json")
    assert list_runs(folder / "a")[0].cells()[-1] == "presets.json cannot be read"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("recipe.toml", "loss = 5\n", "loss: expected a table, got 5"),
        ("recipe.toml", "[loss]\nkl = 5\n", "loss.kl: expected a table, got 5"),
        ("recipe.toml", "", "names no loss term"),
        ("recipe.toml", "[loss]\n", "names no loss term"),
        ("metrics.jsonl", 'x\n{"step": 2, "weights": 5}\n{"st', "2 lines are no record of a training run"),
        ("outcome.json", '{"state": "fin', "is damaged"),
        ("outcome.json", "5", "is damaged"),
    ],
)  # fmt: skip
def test_what_is_damaged_is_said(folder, name, content, problem):
    """A file with something else than it should hold is named with the reason, and the others are read."""
    (folder / "b" / name).write_text(content)
    found = {run.name: run for run in list_runs(folder)}
    told, *_ = found["b"].problem.split("\n")
    assert told == f"{folder / 'b' / name}: {problem}"
    assert found["b"].cells()[-1].removeprefix("mel,kl (").removesuffix(")") == f"{name} cannot be read"
    assert found["a"].problem == ""


def test_records_before_the_last_are_not_damaged(folder):
    """Only the end of a long file is read, and a line that is cut by that is not counted as damaged."""
    lines = "".join(f'{{"step": {step}, "padding": "{"x" * 997}"}}\n' for step in range(1000))
    (folder / "b/metrics.jsonl").write_text(lines)
    (found,) = list_runs(folder / "b")
    assert (found.steps, found.problem) == (999, "")


def test_links_that_lead_to_themselves_are_told_of(folder):
    """A link to itself in the place of the records or of the recipe is named with the reason."""
    for path in (folder / "a/metrics.jsonl", folder / "b/recipe.toml"):
        path.unlink()
        path.symlink_to(path.name)
    refused = {}
    found = {run.name: run for run in list_runs(folder, on_unreadable=refused.__setitem__)}
    assert found.keys() == {"a", "deep/er/c"}
    reason = "Too many levels of symbolic links"
    assert found["a"].problem == f"{folder / 'a/metrics.jsonl'}: cannot be read: {reason}"
    assert {path: error.strerror for path, error in refused.items()} == {folder / "b": reason}


def test_the_steps_are_those_of_the_newest_checkpoint_if_it_is_later(folder):
    """An interrupted run is saved between two records; an older checkpoint says nothing."""
    checkpoints = folder / "b" / "checkpoints"
    checkpoints.mkdir()
    (checkpoints / "step-00000007.safetensors").touch()
    assert {run.name: run.steps for run in list_runs(folder)}["b"] == 10
    (checkpoints / "step-00000013.safetensors").touch()
    assert {run.name: run.steps for run in list_runs(folder)}["b"] == 13


def test_numbers_that_are_none_are_left_out(folder):
    """Numbers that are not finite, or have too many digits, are left out."""
    huge = f'{{"step": 1, "split": "heldout", "seconds": NaN, "components": {{"total": {"9" * 400}}}}}'
    (folder / "a/metrics.jsonl").write_text(f"{huge}\n")
    (found,) = list_runs(folder / "a")
    assert (found.loss, found.metrics, found.seconds) == (None, {"total": None}, 0.0)


def test_a_term_that_changes_nothing_is_not_in_the_loss_that_is_shown(folder, records):
    """A loss is shown without a term that has no gradient, and `loss` is the total as it is defined."""
    train, held = records([(10, 5.0, 4.0)], weight=0.5)
    train["gradients"] = {key: {"mel": 1.0, "kl": 0.0} for key in ("shares", "parameter_shares")}
    held["weights"] = {"mel": 0.5, "kl": 0.01}
    (folder / "b/metrics.jsonl").write_text(f"{json.dumps(train)}\n{json.dumps(held)}\n")
    found = {run.name: run for run in list_runs(folder)}["b"]
    told = found.to_dict()
    assert (told["loss"], told["still_terms"], told["loss_without_still_terms"]) == (4.0, ["kl"], 2.0)
    assert (found.shown_loss, found.cells()[4]) == (2.0, "2*")


@pytest.mark.parametrize(
    ("kept", "state", "loss"),
    [
        (None, "finished", "2.5"),
        (1.0, "finished", "2.5"),
        (0.125, "finished, 12.5% kept", "2.5"),
        (0.0, "finished, 0% kept", "-"),
    ],
)
def test_how_much_of_the_training_is_kept_is_said(folder, kept, state, loss):
    """A run says how much of its training the model has, and has no loss if that is nothing."""
    Ending(state="finished", kept=kept).write(Run(folder / "b"))
    found = {run.name: run for run in list_runs(folder)}["b"]
    assert (found.cells()[1], found.cells()[4]) == (state, loss)
    assert (found.to_dict()["kept"], found.to_dict()["loss"]) == (kept, 2.5)


def test_a_run_that_kept_nothing_has_no_loss_to_be_sorted_by(folder):
    """The loss of a training that is discarded does not make a run the best one."""
    Ending(state="finished", kept=0.0).write(Run(folder / "a"))
    assert [run.name for run in sorted_runs(list_runs(folder), "loss")] == ["b", "a", "deep/er/c"]


def test_a_folder_that_may_not_be_read_is_told_of(folder, monkeypatch):
    """A folder that may not be listed or searched is reported (the system's answer is simulated)."""

    def refusing(call, place):
        def answer(path, **options):
            if path == place:
                raise PermissionError(errno.EACCES, "Permission denied")
            return call(path, **options)

        return answer

    monkeypatch.setattr(os, "scandir", refusing(os.scandir, folder / "no-run"))
    monkeypatch.setattr(Path, "stat", refusing(Path.stat, folder / "deep/recipe.toml"))
    refused = {}
    assert {run.name for run in list_runs(folder, on_unreadable=refused.__setitem__)} == {"a", "b"}
    assert {*refused} == {folder / "no-run", folder / "deep"}
    assert {error.strerror for error in refused.values()} == {"Permission denied"}


def test_records_that_may_not_be_read_are_named(folder, monkeypatch):
    """A run whose records may not be read has no loss, and its line says why (simulated as above)."""
    opened = Path.open

    def refuse(path, *words, **options):
        if path == folder / "a/metrics.jsonl":
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *words, **options)

    monkeypatch.setattr(Path, "open", refuse)
    found = {run.name: run for run in list_runs(folder)}
    assert found["a"].problem == f"{folder / 'a/metrics.jsonl'}: cannot be read: Permission denied"
    assert found["a"].cells()[4::2] == ("-", "mel,kl (metrics.jsonl cannot be read)")
    assert found["b"].problem == ""

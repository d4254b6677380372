"""Tests of `distill runs`."""

import errno
import json
import os
import re

import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from distill.cli import main


def test_runs_are_listed_as_a_table(distill, trained):
    """The table has a line for each run, under a line of heads."""
    result = distill("runs", trained.folder.parent)
    assert (result.status, result.err) == (0, "")
    heads, line = result.out.splitlines()
    assert heads.split() == ["run", "state", "steps", "time", "loss", "last", "change", "terms"]
    assert re.fullmatch(
        r"run  finished +4 +\d+ s +[\d.]+  \d{4}-\d\d-\d\d \d\d:\d\d  stft,reconstruction,kl", line
    )


def test_a_loss_without_a_term_that_changes_nothing_is_marked(distill, tmp_path):
    """A loss without a term that changes nothing has a star, and a line below says what it means."""
    shares = {"stft": 1.0, "kl": 0.0}
    record = {
        "step": 10, "split": "train", "components": {"total": 6.5, "stft": 2.5, "kl": 400.0},
        "weights": {"stft": 1.0, "kl": 0.01}, "gradients": {"shares": shares, "parameter_shares": shares},
    }  # fmt: skip
    (tmp_path / "recipe.toml").write_text("[loss.stft]\n[loss.kl]\n")
    (tmp_path / "metrics.jsonl").write_text(f"{json.dumps(record)}\n")
    _, line, note = distill("runs", tmp_path).out.splitlines()
    assert "  2.5* (trained)  " in line
    assert note == "* without terms that change nothing, since their gradient is 0: kl"


@pytest.mark.parametrize("name", ["L" * 255, "\u65e5\u672c" * 42, "e" + "\u0301" * 100, "a\nb\u202ec\x1b"])
def test_a_long_name_leaves_the_table_readable(name, tmp_path):
    """In 80 columns, states are below each other, whatever the names; a name is never cut."""
    for each in ("short", name):
        (tmp_path / each).mkdir()
        (tmp_path / each / "recipe.toml").write_text(
            "".join(f"[loss.term{number}]\n" for number in range(20))
        )
    lines = CliRunner(env={"COLUMNS": "80"}).invoke(main, ["runs", str(tmp_path)]).stdout.splitlines()
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in name)
    assert [line for line in lines if cell_len(line) > 80 and line != shown] == []
    found = [line for line in lines if line.startswith((shown, "short"))]
    assert len(found) == 2
    states = [
        cell_len(line.partition(word)[0])
        for word in ("state", "interrupted")
        for line in lines
        if word in line
    ]
    assert len(states) == 3
    assert len(set(states)) == 1


def test_runs_that_cannot_be_read_are_told_of_with_the_reason(distill, tmp_path):
    """A warning has the reason for each of the first five runs, and where the others are."""
    for number in range(7):
        (tmp_path / f"a: {number}").mkdir()
        (tmp_path / f"a: {number}" / "recipe.toml").write_text("loss = 5\n" if number else "[loss.kl]\n")
    result = distill("runs", tmp_path, "--sort", "name")
    assert [line.split()[-4:] for line in result.out.splitlines()[2:]] == [
        ["recipe.toml", "cannot", "be", "read"]
    ] * 6
    reasons = [f"  {tmp_path}/a: {n}/recipe.toml: loss: expected a table, got 5" for n in range(1, 6)]
    assert result.err.splitlines() == [
        "Warning: 6 runs cannot be read as a whole:",
        *reasons,
        "  and 1 more: distill runs --json",
    ]


def test_runs_are_listed_as_json(distill, trained):
    """Standard output is JSON and nothing else."""
    result = distill("runs", trained.folder.parent, "--json", "--sort", "loss")
    (run,) = json.loads(result.out)
    assert (run["name"], run["state"], run["steps"]) == ("run", "finished", 4)
    assert run["metrics"].keys() >= {"total", "stft", "reconstruction", "kl"}


def test_a_folder_without_runs_says_so(distill, tmp_path, monkeypatch):
    """With `--json`, the list is empty."""
    assert distill("runs", tmp_path).out == f"There are no runs in {tmp_path}.\n"
    monkeypatch.chdir(tmp_path)
    assert distill("runs", ".").out == "There are no runs in the current folder.\n"
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert distill("runs", "..").out == f"There are no runs in {tmp_path}.\n"
    assert distill("runs", tmp_path, "--json").out == "[]\n"


def test_a_missing_folder_is_one_message(distill, tmp_path):
    """The command ends with the exit status 2."""
    result = distill("runs", tmp_path / "none")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: {tmp_path / 'none'}: there is no such folder\nPass the folder that holds the runs.\n"
    )


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["a"], "1 folder may not be read, and runs that it holds are left out: {}/a"),
        (["a", "b"], "2 folders may not be read, and runs that they hold are left out: {0}/a, {0}/b"),
    ],
)
def test_folders_that_may_not_be_read_are_told_of_once(names, problem, distill, tmp_path, monkeypatch):
    """A warning on standard error has their number and the remedy (the system's answer is simulated)."""
    scandir = os.scandir

    def refuse(path):
        if path.name in names:
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    for each in names:
        (tmp_path / each).mkdir()
    result = distill("runs", tmp_path)
    assert result.out == f"There are no runs in {tmp_path} that may be read.\n"
    assert result.err == (
        f"Warning: {problem.format(tmp_path)}\nTo list them, make sure that you may read and search these "
        "folders (chmod u+rx), or ask their owner.\n"
    )


def test_advice_fits_the_reason(distill, tmp_path):
    """A link to itself in the place of a recipe is not a matter of permissions."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/recipe.toml").symlink_to("recipe.toml")
    assert distill("runs", tmp_path).err == (
        "Warning: 1 folder cannot be read, and runs that it holds are left out: "
        f"{tmp_path}/a (Too many levels of symbolic links)\n"
    )

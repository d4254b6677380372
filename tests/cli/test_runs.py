"""Tests of `distill runs`."""

import json
import re


def test_runs_are_listed_as_a_table(distill, trained):
    """The table has a line for each run, under a line of heads."""
    result = distill("runs", trained.folder.parent)
    assert (result.status, result.err) == (0, "")
    heads, line = result.out.splitlines()
    assert heads.split() == ["run", "state", "steps", "time", "loss", "last", "change", "terms"]
    assert re.fullmatch(
        r"run  finished +4 +\d+ s +[\d.]+  \d{4}-\d\d-\d\d \d\d:\d\d  stft,reconstruction,kl", line
    )


def test_runs_are_listed_as_json(distill, trained):
    """Standard output is JSON and nothing else."""
    result = distill("runs", trained.folder.parent, "--json", "--sort", "loss")
    (run,) = json.loads(result.out)
    assert (run["name"], run["state"], run["steps"]) == ("run", "finished", 4)
    assert run["metrics"].keys() >= {"total", "stft", "reconstruction", "kl"}


def test_a_folder_without_runs_says_so(distill, tmp_path):
    """With `--json`, the list is empty."""
    assert distill("runs", tmp_path).out == f"There are no runs in {tmp_path}.\n"
    assert distill("runs", tmp_path, "--json").out == "[]\n"


def test_a_missing_folder_is_one_message(distill, tmp_path):
    """The command ends with the exit status 2."""
    result = distill("runs", tmp_path / "none")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: {tmp_path / 'none'}: there is no such folder\nGive the folder that holds the runs.\n"
    )

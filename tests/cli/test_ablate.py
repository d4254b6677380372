"""`distill ablate`."""

import json

import pytest
from rich.console import Console

from distill.ablation.folder import AblationFolder
from distill.ablation.progress import Running, Status
from distill.cli.ablating import AblationDisplay

FRAGILE = """
from attrs import frozen
from torch import nn
from distill import TermConfig, TermSpec, hookimpl

@frozen(kw_only=True)
class FragileConfig(TermConfig):
    fail: bool = False

class Fragile(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config

    def forward(self, inputs):
        if self.config.fail:
            raise RuntimeError("out of luck")
        return inputs.posterior.mu.square().mean()

@hookimpl
def distill_loss_terms():
    yield TermSpec(name="fragile", config=FragileConfig, build=Fragile, summary="fails if told to")
"""
"""The module of a term that fails if it is told to."""


@pytest.fixture
def fragile(install_only):
    """Install a term that fails if it is told to."""
    install_only({"distill-fragile": ("fragile", FRAGILE)})


@pytest.fixture
def words(recordings, tiny):
    """Return the words of an ablation of tiny runs."""
    return [
        "ablate",
        recordings,
        "--loss",
        "stft,recon",
        "--seeds",
        1,
        "--steps",
        1,
        *tiny,
        "--set",
        "training.pairs=0",
    ]


def test_a_plan_is_printed_and_nothing_is_trained(distill, words, tmp_path):
    """The plan has the number of runs and an estimate of the time."""
    result = distill(*words, "--each", "--seeds", 2, "--out", tmp_path / "out", "--dry-run")
    assert (result.status, result.err) == (0, "")
    assert [line.rstrip() for line in result.out.splitlines()] == [
        f"folder     {tmp_path / 'out'}",
        "runs       6: 3 variants, each with seed 0, 1",
        "each       1 step",
        "reference  stft,recon",
        "variant    without stft",
        "variant    without recon",
        "weights    those of the remaining terms stay as they are",
        "time       not known before the first run, since there is none like these to go by",
    ]


@pytest.mark.parametrize(
    ("minutes", "each", "time"), [(1, "1 minute", "4 min"), (0.5, "0.5 minutes", "2 min")]
)
def test_the_plan_of_runs_of_minutes_has_their_time(distill, recordings, tmp_path, minutes, each, time):
    """The plan says how long each run and all runs take, less what comes after the steps."""
    words = ("ablate", recordings, "--loss", "stft,recon", "--set", "stft.weight=1,2", "--seeds", 2)
    lines = distill(*words, "--minutes", minutes, "--out", tmp_path / "out", "--dry-run").out.splitlines()
    told = [line.rstrip() for line in lines]
    assert f"each       {each}" in told
    assert f"time       about {time}, and some for the end of each run" in told
    assert not (tmp_path / "out").exists()


def test_a_grid_is_trained_and_told(distill, words, tmp_path, monkeypatch):
    """A grid prints lines, a table and files; the same command then has nothing left to do.

    What could control the terminal in the name of the folder is replaced.
    """
    out, shown = tmp_path / "o\x1but", tmp_path / "o\N{REPLACEMENT CHARACTER}ut"
    grid = (*words, "--set", "stft.weight=1,4", "--out", out)
    result = distill(*grid)
    assert result.status == 0, result.err
    assert "stft.weight=1-seed0: done (1 of 2" in result.out
    assert "stft.weight=4-seed0: done (2 of 2)" in result.out
    assert "\nstft.weight=4\n" in result.out
    assert "One seed says nothing" in result.out
    assert f"Written: {shown / 'ablation.json'}, {shown / 'ablation.csv'}\n" in result.out
    assert "\x1b" not in result.out
    again = distill(*grid)
    assert "done (" not in again.out
    assert "2 of them are done already" in again.out
    assert "time       nothing is left to train" in again.out
    longer = distill(*grid, "--seeds", 2, "--dry-run")
    assert f"as 2 runs in {shown} took for each step, and some for the end of each run" in longer.out
    monkeypatch.chdir(out)
    beside = distill(*grid[:-1], "other", "--dry-run")
    assert "as 2 runs in the current folder took for each step" in beside.out


@pytest.mark.usefixtures("fragile")
def test_a_run_that_fails_does_not_stop_the_others(distill, words, tmp_path):
    """A failed run is named on stderr with status 1, left out of the result, and tried again."""
    words[3] = "stft,fragile"
    folder, name = AblationFolder(tmp_path / "out"), "fragile.fail=true-seed0"
    command = (*words, "--set", "fragile.fail=true,false", "--out", folder.path)
    result = distill(*command)
    assert result.status == 1
    assert result.err.startswith(f"1 run has failed. The same command tries again:\n  {name}: ")
    assert "out of luck" in result.err
    assert f"{name}: failed (1 of 2" in result.out
    assert "fragile.fail=false-seed0: done (2 of 2)" in result.out
    assert "No run can be compared with the reference." in result.out
    assert folder.state(name) == "failed"
    assert "out of luck" in folder.log(name).read_text()
    again = distill(*command)
    assert [line for line in again.out.splitlines() if "-seed0: " in line] == [f"{name}: failed (2 of 2)"]


def test_a_search_ends_in_the_best_recipe(distill, words, tmp_path):
    """Optuna tries three recipes; the same command goes on, and more trials may be asked for."""
    out = tmp_path / "out"
    search = (*words, "--set", "stft.weight=0.1..10", "--measure", "mel", "--out", out, "--search")
    assert distill(*search, 2).status == 0
    first = json.loads((out / "ablation.json").read_text())["trials"]
    result = distill(*search, 3)
    assert (result.status, result.err) == (0, "")
    told = json.loads((out / "ablation.json").read_text())["trials"]
    assert [each["number"] for each in told] == [0, 1, 2]
    assert told[:2] == first
    assert all(0.1 <= each["options"]["stft.weight"] <= 10 for each in told)
    best = min(told, key=lambda each: each["value"])
    assert f"{best['number']:5}  {best['value']:10.4f}  stft.weight=" in result.out
    assert result.out.endswith(f"The best recipe: distill train --config {out / 'best.toml'}\n")
    recipe = (out / "best.toml").read_text()
    assert f"weight = {best['options']['stft.weight']}" in recipe
    other = distill(*search[:-1], "--set", "recon.weight=1..2", "--search", 3)
    assert (other.status, other.err.splitlines()[:2]) == (
        2,
        [f"Error: {out}: holds another search:", "space.recon.weight: unset, now [1.0, 2.0]"],
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--set", "stft.weight=1..2"],
            "Error: stft.weight: a range is searched\nAdd --search N for N trials, or pass values: A,B,C\n",
        ),
        (
            ["--set", "stft.weight=1..2", "--set", "kl.weight_max=0..1"],
            (
                "Error: stft.weight, kl.weight_max: a range is searched\n"
                "Add --search N for N trials, or pass values: A,B,C\n"
            ),
        ),
        (
            ["--search", 2],
            "Error: search: no range is given\nPass one, such as: --set loss.stft.weight=0.1..10\n",
        ),
        (
            ["--search", 2, "--set", "stft.weight=-1..2", "--set", "recon.wieght=1..2"],
            (
                "Error: loss.stft.weight: must be >= 0, got -1\n"
                "loss.reconstruction.wieght: unknown option, got 1; did you mean 'weight'?\n"
                "loss.reconstruction.wieght: unknown option, got 2; did you mean 'weight'?\n"
            ),
        ),
        (["--each", "--measure", "mel"], "Error: --measure needs --search.\n"),
        (
            ["--each", "--slurm", "gpu", "--slurm", "=1"],
            "Error: --slurm takes KEY=VALUE, such as partition=gpu: got 'gpu', '=1'.\n",
        ),
        (["--each", "--slurm", "gpu"], "Error: --slurm takes KEY=VALUE, such as partition=gpu: got 'gpu'.\n"),
        (
            ["--each", "--search", 2],
            "Error: --each leaves terms out, and --search searches weights: use one of them.\n",
        ),
        (
            ["--each", "--slurm", "mem=8GB"],
            "Error: slurm: is for the jobs of a cluster\nAdd --cluster slurm.\n",
        ),
        (["--search", 2, "--dry-run"], "Error: --dry-run prints a plan, and a search decides as it goes.\n"),
    ],
)
def test_what_makes_no_sense_is_one_message(distill, words, tmp_path, more, message):
    """The exit status is 2, and nothing is printed or written, not even the plan."""
    result = distill(*words, *more, "--out", tmp_path / "out")
    assert (result.status, result.out) == (2, "")
    assert result.err.endswith(message)
    assert not (tmp_path / "out").exists()


def test_the_display_fits_80_columns():
    """All runs in progress are shown, and long names are cut."""
    console = Console(width=80, force_terminal=True, force_interactive=True, record=True)
    display = AblationDisplay(console)
    names = [f"without-a_term_with_a_name_that_is_long-seed{seed}" for seed in range(3)]
    display.show(
        Status(
            total=18,
            done=("all-seed0",),
            failed={"all-seed1": "out of luck"},
            running=tuple(Running(name=name, step=120, progress=0.5, loss=1.234567) for name in names),
            seconds_left=1000.0,
        )
    )
    console.print(display.live.renderable)
    lines = console.export_text().splitlines()
    assert "2 of 18 runs, 1 failed" in lines[0]
    assert "17 min left" in lines[0]
    assert [line.split()[-4:] for line in lines[1:4]] == [["step", "120,", "loss", "1.235"]] * 3
    assert max(map(len, lines)) <= 80

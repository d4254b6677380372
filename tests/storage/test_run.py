"""Tests of distill.storage.run: the run folder and what is written to it line by line."""

import os
from pathlib import Path

import pytest

from distill.errors import ConfigError, InputError, RunError
from distill.storage.run import Run, free_run, run_of


@pytest.fixture
def run(tmp_path):
    """Return a run folder with a recipe."""
    (tmp_path / "recipe.toml").write_text("[training]\nsteps = 3\n")
    return Run(tmp_path)


def record(step, split="train"):
    """Make the part of a record that matters here."""
    return {"step": step, "split": split}


def test_a_run_folder_is_accepted(run):
    """A folder with a recipe is a run, and its recipe is plain data."""
    run.require()
    assert run.read_recipe() == {"training": {"steps": 3}}


def test_an_old_run_has_the_code_of_its_version(run):
    """A recipe without the numbers of joint frames and their hidden layers is of a version without them."""
    run.recipe.write_text('[model]\ncode = "compact"\n')
    assert run.read_recipe() == {"model": {"code": "compact", "joint_frames": 1, "joint_width": 0}}
    run.recipe.write_text('[model]\ncode = "compact"\njoint_frames = 8\n')
    assert run.read_recipe()["model"] == {"code": "compact", "joint_frames": 8, "joint_width": 0}


@pytest.mark.parametrize("name", ["metrics.jsonl", "split.json", "model.safetensors", "tensorboard/events"])
def test_a_pipe_in_a_run_is_not_waited_for(run, name):
    """A pipe in the place of a file is refused, as its reader would wait for ever."""
    path = run.folder / name
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    with pytest.raises(RunError) as caught:
        run.read_recipe()
    assert str(caught.value) == (
        f"{path}: is not an ordinary file\nRemove it, or restore the run from a copy."
    )


@pytest.mark.parametrize("name", ["recipe.toml", "metrics.jsonl", "split.json"])
def test_a_file_of_holes_is_not_read(run, name):
    """A sparse file of a terabyte is refused unread, and a link to nothing is a missing file."""
    path = run.folder / name
    with path.open("ab") as file:
        file.truncate(2**40)
    (run.folder / "a link").symlink_to("nowhere")
    with pytest.raises(RunError) as caught:
        run.read_recipe()
    assert str(caught.value) == (
        f"{path}: has 1.1 TB, and 537 MB at most are expected\nRemove it, or restore the run from a copy."
    )


def test_a_folder_that_is_not_there(tmp_path):
    """A run that does not exist is refused with one message."""
    folder = tmp_path / "nowhere"
    with pytest.raises(RunError) as caught:
        Run(folder).read_recipe()
    assert str(caught.value) == (
        f"{folder}: there is no such run folder\nPass the folder that `distill train --out` wrote."
    )


def test_a_folder_that_is_no_run(tmp_path):
    """A folder of something else is refused with one message."""
    with pytest.raises(RunError) as caught:
        Run(tmp_path).require()
    assert str(caught.value) == (
        f"{tmp_path}: is not a run folder: it holds no recipe.toml\n"
        "Pass the folder that `distill train --out` wrote."
    )


def test_a_damaged_recipe(run):
    """A recipe that is no TOML is reported with its path and place."""
    run.recipe.write_text("[training\n")
    with pytest.raises(ConfigError) as caught:
        run.read_recipe()
    assert str(caught.value).startswith(f"{run.recipe}: not valid TOML: ")
    assert "at line 1" in str(caught.value)


def test_something_else_in_the_place_of_a_table(run):
    """Sections, and the options of terms and balancers, are tables; all that are none are named."""
    run.recipe.write_text(
        'model = 5\n"a b" = []\n[loss]\nstft = "x"\nkl = {weight_max = 1.0}\n[balancing]\nx = true\n'
    )
    with pytest.raises(ConfigError) as caught:
        run.read_recipe()
    assert str(caught.value) == (
        f"{run.recipe}: model: expected a table, got 5\n"
        '"a b": expected a table, got []\n'
        'loss.stft: expected a table, got "x"\n'
        "balancing.x: expected a table, got true\n"
        "Correct the file, or restore it from a copy."
    )


def test_a_new_run_needs_a_new_or_empty_folder(tmp_path):
    """A new run accepts a missing or an empty folder."""
    Run(tmp_path).require_new()
    Run(tmp_path / "new").require_new()


def test_a_run_is_not_written_over(run):
    """A folder with a run is refused with one message."""
    with pytest.raises(RunError) as caught:
        run.require_new()
    assert str(caught.value) == (
        f"{run.folder}: holds a run already\n"
        "Add --resume to go on with it, or choose another folder with --out."
    )


def test_other_files_are_not_mixed_with_a_run(tmp_path):
    """A folder in use and a file are each refused with one message."""
    (tmp_path / "song.wav").touch()
    with pytest.raises(RunError) as caught:
        Run(tmp_path).require_new()
    assert str(caught.value) == (
        f"{tmp_path}: is not empty, and holds no run\nChoose a new folder with --out."
    )
    with pytest.raises(RunError) as caught:
        Run(tmp_path / "song.wav").require_new()
    assert str(caught.value) == f"{tmp_path / 'song.wav'}: is a file\nPass a folder with --out."


def test_metrics_are_appended(run):
    """Records come back in the order they were written."""
    assert list(run.read_metrics()) == []
    run.append_metrics([record(1), record(1, "heldout")])
    run.append_metrics([record(2)])
    assert list(run.read_metrics()) == [record(1), record(1, "heldout"), record(2)]


def test_a_record_that_a_kill_cut_short_is_passed_over(run):
    """The whole records before a truncated one count."""
    run.append_metrics([record(1), record(2)])
    text = run.metrics.read_text()
    run.metrics.write_text(text + '{"step": 3, "spl')
    assert list(run.read_metrics()) == [record(1), record(2)]


@pytest.mark.parametrize("line", [b"{", b"\xff", b"[1]", b"{}"])
def test_a_damaged_record_before_others_is_an_error(run, line):
    """A damaged line that other records follow is an error, and the message names the line."""
    run.append_metrics([record(1)])
    text = run.metrics.read_bytes()
    run.metrics.write_bytes(text + line + b"\n" + text)
    with pytest.raises(RunError) as caught:
        list(run.read_metrics())
    assert str(caught.value) == (
        f"{run.metrics}: line 2 is not a record of a training run\n"
        "Restore the file from a copy, or remove the line."
    )


def test_a_run_is_named_after_its_corpus_and_numbered(tmp_path):
    """A name that is taken gets the first number that is free."""
    assert free_run(tmp_path, "drums").folder == tmp_path / "drums"
    (tmp_path / "drums-2").touch()
    assert free_run(tmp_path, "drums").folder == tmp_path / "drums-3"


def test_a_run_is_given_as_such_or_by_its_folder(run, tmp_path):
    """A run is given as such or by the path of its folder, which need not be valid text."""
    assert run_of(run) == run
    assert run_of(Run(str(tmp_path))) == run
    assert run_of(str(tmp_path)) == run
    odd = Path(os.fsdecode(bytes(tmp_path) + b"/odd\xff"))
    run.folder.joinpath("recipe.toml").rename(tmp_path / "kept")
    odd.mkdir()
    (tmp_path / "kept").rename(odd / "recipe.toml")
    assert run_of(odd).read_recipe() == {"training": {"steps": 3}}


def test_a_url_is_no_run():
    """A URL is refused, as text and as the path that `Path` makes of it."""
    with pytest.raises(InputError) as caught:
        run_of("https://host/run")
    assert str(caught.value) == (
        "run: expected a run or its folder, got the URL https://host/run\n"
        "Pass a file or folder of this machine, such as a downloaded copy."
    )
    with pytest.raises(InputError) as caught:
        run_of(Path("https://host/run"))
    assert str(caught.value) == (
        "run: expected a run or its folder, got a URL as a path: https:/host/run\n"
        "Pass a file or folder of this machine, such as a downloaded copy."
    )

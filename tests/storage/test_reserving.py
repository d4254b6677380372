"""Tests of distill.storage.reserving: run folders that belong to one training run."""

import os
import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from distill.errors import LockError, RunError
from distill.storage.locking import BEAT, GATE, LOCK, LOCK_FILES
from distill.storage.reserving import reserved, reserved_free
from distill.storage.run import Run


def names(folder):
    """Return the names in a folder, without those of its lock."""
    return {path.name for path in folder.iterdir()} - LOCK_FILES


def fail(context):
    """Leave a context with an error."""
    error = ZeroDivisionError()
    assert not context.__exit__(ZeroDivisionError, error, None)


def test_a_folder_is_reserved_until_the_run_has_ended(tmp_path):
    """The folder is reserved by whatever path it is asked for, and the lock is gone afterwards."""
    run = Run(tmp_path / "new" / "run")
    with reserved(run, resume=False) as place:
        assert place.run == run
        for resume in (False, True):
            run.recipe.write_text("") if resume else None
            with pytest.raises(LockError) as caught:
                reserved(Run(tmp_path / "new" / "." / "run"), resume=resume).__enter__()
            assert re.fullmatch(
                rf"{tmp_path}/new/run: another thread of this process is training in it\n"
                r"Wait until it has ended, or choose another folder with --out\.",
                str(caught.value),
            )
    assert {path.name for path in run.folder.iterdir()} == {"recipe.toml"}


def test_runs_without_a_name_of_their_own_are_numbered(tmp_path):
    """Runs that start at once get different numbers before any of them has written a file."""
    with (
        reserved_free(tmp_path / "runs", "demo") as first,
        reserved_free(tmp_path / "runs", "demo") as second,
    ):
        assert [first.run, second.run] == [Run(tmp_path / "runs" / name) for name in ("demo", "demo-2")]

    contexts = [reserved_free(tmp_path / "runs", "drums") for _ in range(16)]
    with ThreadPoolExecutor(16) as threads:
        places = list(threads.map(lambda context: context.__enter__(), contexts))
    assert {place.run.folder.name for place in places} == {"drums", *(f"drums-{n}" for n in range(2, 17))}
    for context in contexts:
        context.__exit__(None, None, None)


@pytest.mark.parametrize("named", [True, False])
def test_an_error_before_the_first_checkpoint_leaves_no_folder(tmp_path, named):
    """An early error removes the folder, so that the same command can be repeated."""
    parent = tmp_path / "a" / "b"
    context = reserved(Run(parent / "run"), resume=False) if named else reserved_free(parent, "run")
    run = context.__enter__().run
    for path in (run.recipe, run.split, run.tensorboard / "events.out.tfevents.1.host"):
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    fail(context)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("kept", ["metrics.jsonl", "checkpoints/step-00000001.safetensors", "notes.txt"])
def test_an_error_later_leaves_everything(tmp_path, kept):
    """The folder stays after an error if it holds something that no training run begins with."""
    run = Run(tmp_path / "run")
    context = reserved(run, resume=False)
    context.__enter__()
    run.recipe.write_text("")
    (run.folder / kept).parent.mkdir(exist_ok=True)
    (run.folder / kept).write_text("x")
    fail(context)
    assert names(run.folder) == {"recipe.toml", kept.partition("/")[0]}


def test_an_error_of_a_resumed_run_removes_nothing(tmp_path):
    """An error of a resumed run keeps even the files that a run begins with."""
    run = Run(tmp_path)
    run.recipe.write_text("")
    context = reserved(run, resume=True)
    context.__enter__()
    fail(context)
    assert {path.name for path in tmp_path.iterdir()} == {"recipe.toml"}


def test_what_killed_processes_left_is_swept(tmp_path):
    """Only unfinished files are removed, in any folder of the run and of any version."""
    run = Run(tmp_path)
    run.recipe.write_text("")
    for folder in ("", "checkpoints", "audio"):
        (tmp_path / folder).mkdir(exist_ok=True)
        for name in (".123.partial", ".18446744073709551615.partial", ".mine.partial", "a.partial"):
            (tmp_path / folder / name).touch()
    with reserved(run, resume=True):
        pass
    left = {"recipe.toml", ".mine.partial", "a.partial", "checkpoints", "audio"}
    assert {path.name for path in tmp_path.rglob("*")} == left


LINKS = [
    "checkpoints",
    "audio",
    "tensorboard",
    "metrics.jsonl",
    "latents.safetensors",
    "audio/1.original.wav",
]


@pytest.mark.parametrize("name", [*LINKS, "anything", ".1.partial"])
def test_a_link_out_of_the_folder_is_refused(tmp_path, name):
    """A link out of the folder is refused, whatever its name and whether or not its target exists."""
    run, victim = Run(tmp_path / "run"), tmp_path / "victim"
    (run.folder / name).parent.mkdir(parents=True)
    run.recipe.write_text("")
    (run.folder / name).symlink_to(victim)
    with pytest.raises(RunError) as caught:
        reserved(run, resume=True).__enter__()
    assert str(caught.value) == (
        f"{run.folder / name}: is a link that leads out of the run folder, to {victim}\n"
        "Replace it by what it leads to, if you trust it, or remove it."
    )
    assert os.listdir(tmp_path) == ["run"]  # noqa: PTH208  # as for any program


def test_links_within_the_folder_and_to_it_are_kept(tmp_path):
    """A run folder may be reached by a link, and have links to its own files."""
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    (tmp_path / "link").symlink_to("run")
    (tmp_path / "run" / "recipe.toml").write_text("")
    (tmp_path / "run" / "latest").symlink_to(tmp_path / "link" / "checkpoints")
    with reserved(Run(tmp_path / "link"), resume=True) as place:
        assert place.run == Run(tmp_path / "link")


@pytest.mark.parametrize("name", [BEAT, GATE, LOCK])
def test_a_folder_in_the_place_of_a_lock_is_named(tmp_path, name):
    """The message names what is to be removed."""
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    run.recipe.write_text("")
    (run.folder / name / "below").mkdir(parents=True)
    with pytest.raises(RunError) as caught:
        reserved(run, resume=True).__enter__()
    assert str(caught.value) == (
        f"{run.folder / name}: the run folder cannot be written: Is a directory\n"
        "Remove what is in its place, or choose another path."
    )


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    """A file in the way of the folder gives one message that names it."""
    (tmp_path / "file").touch()
    with pytest.raises(RunError) as caught:
        reserved_free(tmp_path / "file", "run").__enter__()
    assert str(caught.value) == (
        f"{tmp_path / 'file'}: the run folder cannot be written: File exists\n"
        "Remove what is in its place, or choose another path."
    )

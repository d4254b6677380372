"""Checkpoints come back equal, and are whole or not there at all."""

import os
import resource
import signal
import stat
import subprocess
import sys

import pytest
import torch

from distill.errors import RunError
from distill.storage.checkpoints import (
    checkpoint_paths,
    load_checkpoint,
    load_latest,
    load_state,
    save_best,
    save_checkpoint,
    save_state,
)
from distill.storage.files import write_text


def partials(folder):
    """List the temporary files that are left in a folder."""
    return [path.name for path in folder.iterdir() if path.name.endswith(".partial")]


def test_the_file_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """The content is synced, then the file is renamed, and then the folder is synced."""
    path, events = tmp_path / "a", []
    sync = os.fsync

    def record(descriptor):
        events.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), path.exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    write_text(path, "new")
    assert events == [(False, False), (True, True)]


def test_the_mode_of_a_file_is_that_of_any_new_file(tmp_path):
    """A written file can be read by whom the umask allows, not by its owner alone."""
    (tmp_path / "plain").touch()
    write_text(tmp_path / "a", "")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    """Ctrl-C halfway leaves the old content and no temporary file."""
    path = tmp_path / "a"
    write_text(path, "old")

    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert partials(tmp_path) == []


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    """The error of a full disk names file and cause, and the old state stays whole."""
    path = tmp_path / "s.safetensors"
    save_state(path, {"step": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(RunError) as caught:
            save_state(path, {"weight": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(caught.value) == (
        f"{path}: cannot be written: File too large\nRaise the limit on the size of files (ulimit -f)."
    )
    assert load_state(path) == {"step": 1}
    assert partials(tmp_path) == []


def test_a_file_in_the_place_of_the_folder_is_said(tmp_path):
    """A path below a file gives one clear error."""
    (tmp_path / "run").touch()
    with pytest.raises(RunError) as caught:
        write_text(tmp_path / "run" / "a", "")
    assert str(caught.value) == (
        f"{tmp_path / 'run' / 'a'}: cannot be written: File exists\n"
        "Remove what is in its place, or choose another path."
    )


def test_checkpoints_are_numbered_and_pruned(tmp_path):
    """The newest `keep` checkpoints stay, in the order of their steps, beside files of other names."""
    (tmp_path / "step-notes.txt").touch()
    for step in (5, 100_000_000, 1200, 30):
        (tmp_path / f"step-{step:08d}.safetensors").touch()
    assert list(checkpoint_paths(tmp_path)) == [5, 30, 1200, 100_000_000]
    path = save_checkpoint(tmp_path, 100_000_001, {}, keep=2)
    assert path == tmp_path / "step-100000001.safetensors"
    assert list(checkpoint_paths(tmp_path)) == [100_000_000, 100_000_001]
    assert (tmp_path / "step-notes.txt").exists()
    assert save_checkpoint(tmp_path / "new", 1200, {}).name == "step-00001200.safetensors"
    with pytest.raises(ValueError, match=r"^keep must be at least 1: 0$"):
        save_checkpoint(tmp_path, 1, {}, keep=0)


def test_a_new_checkpoint_outlives_a_damaged_later_one(tmp_path):
    """After a resume from before a damaged checkpoint, pruning removes the damaged one, not the new."""
    (tmp_path / "step-00000200.safetensors").touch()
    save_checkpoint(tmp_path, 150, {"step": 150}, keep=1)
    assert list(checkpoint_paths(tmp_path)) == [150]


def test_the_newest_whole_checkpoint_is_loaded(tmp_path):
    """A damaged newest one is passed over, and handed back as an error to be shown."""
    assert load_latest(tmp_path / "none") is None
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, {"at": step})
    latest = load_latest(tmp_path)
    assert (latest.step, latest.state, latest.damaged) == (3, {"step": 3, "at": 3}, ())
    damaged = tmp_path / "step-00000003.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    latest = load_latest(tmp_path)
    assert (latest.step, latest.state) == (2, {"step": 2, "at": 2})
    assert [error.culprit for error in latest.damaged] == [str(damaged)]


def test_another_state_is_no_checkpoint(tmp_path):
    """The checkpoint of another step, or a model, under the name of one is passed over."""
    save_checkpoint(tmp_path, 1, {})
    save_state(tmp_path / "step-00000002.safetensors", {"step": 1})
    save_state(tmp_path / "step-00000003.safetensors", {"weight": torch.ones(2)})
    latest = load_latest(tmp_path)
    assert latest.step == 1
    assert [str(error) for error in latest.damaged] == [
        (
            f"{tmp_path / 'step-00000003.safetensors'}: is not a checkpoint but of something else\n"
            "Restore it from a copy, or train again."
        ),
        (
            f"{tmp_path / 'step-00000002.safetensors'}: is not a checkpoint but of step 1\n"
            "Restore it from a copy, or train again."
        ),
    ]


def test_a_checkpoint_can_be_chosen(tmp_path):
    """The newest checkpoint can be chosen, one by its step, or the best, which no pruning removes."""
    save_best(tmp_path, 1, {"at": 1})
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, {"at": step}, keep=2)
    found = {which: load_checkpoint(tmp_path, which).step for which in ("last", "best", 2)}
    assert found == {"last": 3, "best": 1, 2: 2}
    assert list(checkpoint_paths(tmp_path)) == [2, 3]
    with pytest.raises(RunError) as caught:
        load_checkpoint(tmp_path, 1)
    assert str(caught.value) == (
        f"{tmp_path}: there is no checkpoint of step 1\nPass the step of another one, 2, 3, or 'last'."
    )


@pytest.mark.parametrize(
    ("which", "problem"),
    [
        ("last", "there are no checkpoints"),
        ("best", "there is no best checkpoint: the run has not measured held-out recordings yet"),
        (5, "there is no checkpoint of step 5"),
    ],
)
def test_a_checkpoint_that_is_not_there(which, problem, tmp_path):
    """A run without any checkpoint is refused with one message."""
    with pytest.raises(RunError) as caught:
        load_checkpoint(tmp_path, which)
    assert str(caught.value) == f"{tmp_path}: {problem}\nTrain the run on."


def test_the_best_checkpoint_is_one_to_go_on_from(tmp_path):
    """A run resumes from its best checkpoint if no other one is whole."""
    save_best(tmp_path, 1, {"at": 1})
    assert load_latest(tmp_path).state == {"step": 1, "at": 1}
    (tmp_path / "step-00000002.safetensors").touch()
    latest = load_latest(tmp_path)
    assert (latest.step, len(latest.damaged)) == (1, 1)


def test_a_damaged_best_checkpoint_is_said(tmp_path):
    """A damaged best checkpoint is an error, because there is no other one to fall back on."""
    path = save_best(tmp_path, 1, {})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match=r"best\.safetensors: the file is cut short"):
        load_checkpoint(tmp_path, "best")


def test_checkpoints_that_cannot_be_listed_are_not_none(tmp_path):
    """A folder that cannot be listed, or a file in its place, is not taken for a fresh start."""
    (tmp_path / "file").touch()
    with pytest.raises(RunError) as caught:
        load_latest(tmp_path / "file")
    assert str(caught.value) == (
        f"{tmp_path / 'file'}: the checkpoints cannot be listed: Not a directory\n"
        "Make sure that it is a folder that you may read."
    )


def test_no_whole_checkpoint_is_an_error(tmp_path):
    """A folder of damaged checkpoints is not taken for a fresh start."""
    for step in (1, 2):
        (tmp_path / f"step-{step:08d}.safetensors").touch()
    with pytest.raises(RunError) as caught:
        load_latest(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: none of the 2 checkpoints can be read\nRestore it from a copy, or train again."
    )


KILLED_WHILE_SAVING = """
import os, signal, sys
from pathlib import Path
from distill.storage.checkpoints import save_checkpoint
save_checkpoint(Path(sys.argv[1]), 1, {"step": 1})
os.fsync = lambda descriptor: os.kill(os.getpid(), signal.SIGKILL)
save_checkpoint(Path(sys.argv[1]), 2, {"step": 2}, keep=1)
"""


def test_a_kill_leaves_the_last_whole_checkpoint(tmp_path):
    """A process killed while it saves leaves the checkpoint before; the next save tidies up after it."""
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_SAVING, tmp_path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(partials(tmp_path)) == 1
    latest = load_latest(tmp_path)
    assert (latest.step, latest.state, latest.damaged) == (1, {"step": 1}, ())
    save_checkpoint(tmp_path, 2, {"step": 2}, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002.safetensors"]

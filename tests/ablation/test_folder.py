"""The folder of an ablation: its plan, and its lock."""

import json
import os

import pytest

from distill.ablation.folder import AblationFolder
from distill.errors import DistillError, LockError, RunError
from distill.storage.locking import GATE


def test_a_damaged_plan_is_one_message(tmp_path):
    """A folder without a plan is one message, too."""
    folder = AblationFolder(tmp_path)
    for content, problem in (
        (None, "is not the folder of an ablation"),
        ("{", "is damaged"),
        ("[]", "is damaged"),
    ):
        if content is not None:
            folder.plan.write_text(content)
        with pytest.raises(DistillError) as caught:
            folder.read_plan()
        assert caught.value.problem == problem
    for wrong in ({}, {"corpus": 5, "runs": {}}, {"corpus": None, "runs": {"a": 5}}):
        folder.plan.write_text(json.dumps({"format": 1 if wrong else 2} | wrong))
        with pytest.raises(DistillError, match="is damaged"):
            folder.read_plan()
    folder.plan.unlink()
    os.mkfifo(folder.plan)  # would be waited for
    with pytest.raises(DistillError, match="is damaged"):
        folder.read_plan()


@pytest.mark.parametrize("name", ["logs", "logs/processes.txt", "jobs", "study.log"])
def test_nothing_is_written_through_a_link(tmp_path, name):
    """A link in the folder is refused before anything is written through it."""
    link = tmp_path / "folder" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path)
    with pytest.raises(RunError) as caught, AblationFolder(tmp_path / "folder").locked():
        pass
    assert str(caught.value) == f"{link}: is a link\nRemove it."


def test_two_processes_do_not_run_one_ablation(tmp_path):
    """The second one is refused, with a remedy."""
    with (
        AblationFolder(tmp_path).locked(),
        pytest.raises(LockError) as caught,
        AblationFolder(tmp_path).locked(),
    ):
        pass
    assert str(caught.value) == (
        f"{tmp_path}: another thread of this process is running this ablation\n"
        "Wait until it has ended, or choose another folder with --out."
    )


def test_a_lock_of_the_study_is_not_waited_for(tmp_path):
    """A killed process leaves Optuna's lock, a link to a path that need not exist there, or half released."""
    folder = AblationFolder(tmp_path)
    left = [tmp_path / name for name in ("study.log.lock", "study.log.lock5.rename")]
    for path in left:
        path.symlink_to("runs/search/study.log")
    folder.study.touch()
    with folder.locked():
        assert not any(map(os.path.lexists, left))
        assert folder.study.exists()


def test_a_folder_in_the_place_of_a_lock_is_named(tmp_path):
    """The message names what is to be removed, which is not the ablation."""
    (tmp_path / GATE).mkdir()
    with pytest.raises(RunError) as caught, AblationFolder(tmp_path).locked():
        pass
    assert str(caught.value) == (
        f"{tmp_path / GATE}: the folder cannot be written: Is a directory\n"
        "Remove what is in its place, or choose another path."
    )

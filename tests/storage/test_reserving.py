"""Tests of distill.storage.reserving: run folders in use by this process."""

from functools import partial

import pytest

from distill.errors import RunError
from distill.storage.reserving import reserved
from distill.storage.run import Run, free_run


def test_a_folder_is_reserved_until_the_run_has_ended(tmp_path):
    """By whatever path it is asked for, and whether or not it exists."""
    folder = tmp_path / "run"
    with reserved(lambda _: Run(folder)) as run:
        assert run == Run(folder)
        with pytest.raises(RunError) as caught, reserved(lambda _: Run(tmp_path / "x" / ".." / "run")):
            pass
        assert str(caught.value) == (
            f"{tmp_path}/x/../run: another training run of this process is writing to it\n"
            "Give another folder, or wait until that run has ended."
        )
    with reserved(lambda _: Run(folder)) as run:
        assert run == Run(folder)


def test_runs_without_a_name_of_their_own_are_numbered(tmp_path):
    """Though none of them has written anything yet."""

    def choose(taken):
        return free_run(tmp_path, "demo", reserved=taken)

    with reserved(choose) as first, reserved(choose) as second:
        assert [first, second] == [Run(tmp_path / "demo"), Run(tmp_path / "demo-2")]


def test_an_error_reserves_nothing(tmp_path):
    """Neither one of the choice nor one of the run."""
    choose = partial(free_run, tmp_path, "demo")
    with pytest.raises(ZeroDivisionError), reserved(lambda taken: choose(reserved=taken)):
        raise ZeroDivisionError
    with reserved(lambda taken: choose(reserved=taken)) as run:
        assert run == Run(tmp_path / "demo")

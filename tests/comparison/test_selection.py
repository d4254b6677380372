"""Tests of the runs that are chosen for a comparison."""

import pytest

from distill.comparison.selection import distinct_runs, short_names
from distill.errors import InputError


@pytest.fixture
def run(tmp_path):
    """Return a function that writes a run with an empty recipe below a folder."""

    def write(name):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "recipe.toml").touch()
        return folder

    return write


def test_a_run_that_is_given_twice_is_refused_also_by_another_path(run, tmp_path):
    """A symbolic link to a run is that run."""
    first = run("first")
    link = tmp_path / "link"
    link.symlink_to(first)
    for again in (first, link, tmp_path / "link" / ".." / "first"):
        with pytest.raises(InputError) as caught:
            distinct_runs([first, again])
        assert str(caught.value) == f"{again}: is given twice\nPass each run once."


def test_names_are_as_short_as_tells_runs_apart(run):
    """Names are the last parts of the paths, as few as tell the runs apart, and links are followed."""
    assert short_names(distinct_runs([run("a/run"), run("b/run")])) == ["a/run", "b/run"]
    assert short_names(distinct_runs([run("a/x"), run("b/y")])) == ["x", "y"]
    assert short_names(distinct_runs([run("c/1/run"), run("d/1/run")])) == ["c/1/run", "d/1/run"]

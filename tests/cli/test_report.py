"""Tests of `distill report`."""

import time

import pytest

from distill.storage.ending import Ending
from distill.storage.run import Run


@pytest.fixture
def bare_run(tmp_path):
    """Return a run folder with a recipe and nothing else."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.toml").write_text("[loss.kl]\n")
    return tmp_path / "run"


def test_the_page_is_written_and_named(distill, bare_run):
    """The command prints the path and nothing else."""
    result = distill("report", bare_run)
    assert (result.status, result.out, result.err) == (0, f"{bare_run / 'report.html'}\n", "")


def test_a_name_gives_no_commands_to_the_terminal(distill, bare_run):
    """Control characters in the name of the folder are replaced."""
    folder = bare_run.rename(bare_run.with_name("a\nb\x1bc"))
    shown = folder.with_name("a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c")
    assert distill("report", folder).out == f"{shown / 'report.html'}\n"


def test_a_folder_that_is_no_run_is_one_message(distill, tmp_path):
    """The command ends with the exit status 2."""
    result = distill("report", tmp_path / "none")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: {tmp_path / 'none'}: there is no such run folder\n"
        "Pass the folder that `distill train --out` wrote.\n"
    )


def test_a_watched_page_is_written_until_the_run_ends(distill, bare_run, monkeypatch):
    """The page reloads itself while the run goes on, and no longer afterwards."""
    pages = []

    def sleep(_):
        pages.append((bare_run / "report.html").read_text())
        if len(pages) == 2:
            Ending(state="finished").write(Run(bare_run))

    monkeypatch.setattr(time, "sleep", sleep)
    result = distill("report", bare_run, "--watch")
    assert (result.status, result.out) == (0, f"{bare_run / 'report.html'}\n")
    assert result.err == "Written again every 15 seconds, until the run is finished. Ctrl-C stops.\n"
    assert ['"refresh":15' in page for page in pages] == [True, True]
    assert '"refresh":null' in (bare_run / "report.html").read_text()

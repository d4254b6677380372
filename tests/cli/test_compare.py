"""Tests of `distill compare`."""

import json


def test_json_is_all_there_is_on_standard_output(distill, compared_runs, comparison):
    """The facts are those of `Comparison.to_dict`."""
    result = distill("compare", *(run.folder for run in compared_runs), "--json")
    assert (result.status, result.err) == (0, "")
    assert json.loads(result.out) == comparison.to_dict()


def test_a_page_is_not_replaced_unasked(distill, compared_runs, tmp_path):
    """An existing page is refused before anything is measured."""
    page = tmp_path / "comparison.html"
    page.touch()
    result = distill("compare", *(run.folder for run in compared_runs), "--out", page)
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: {page}: exists already\n"
        "Add --overwrite to replace what is there, or choose another file with --out.\n"
    )
    result = distill("compare", compared_runs[0].folder, "--out", page)
    assert result.err.startswith("Error: ")
    assert "exists already" not in result.err  # that a second run is missing comes first


def test_a_mistake_is_one_message(distill, compared_runs):
    """The exit status is 2."""
    result = distill("compare", compared_runs[0].folder)
    assert (result.status, result.out) == (2, "")
    assert result.err == "Error: runs: expected two runs or more\nPass the folders of several runs.\n"


def test_recordings_at_a_url_are_not_looked_for_on_the_disk(distill, compared_runs, tmp_path):
    """A URL is taken as one: the message is about the server, and not about a file of that name."""
    folders = [run.folder for run in compared_runs]
    result = distill("compare", *folders, "--on", "https://127.0.0.1:1/a", "--out", tmp_path / "c.html")
    assert result.status == 2
    assert result.err.startswith(
        "Error: https://127.0.0.1:1/a/shards.json: the list of shards cannot be read: the server"
    )

"""Tests of distill.playing.requirements: what is missing for a page is told before anything slow."""

import shutil
from importlib.util import find_spec

import pytest

from distill.errors import DistillError
from distill.playing.requirements import require_playable
from distill.storage.run import Run

# An import would take seconds in each process that collects these tests.
pytestmark = pytest.mark.skipif(find_spec("gradio") is None, reason="needs the extra distill[play]")


@pytest.fixture
def unfinished(trained, tmp_path):
    """Return a run that was stopped before its end."""
    run = Run(shutil.copytree(trained.folder, tmp_path / "run"))
    run.latents.unlink()
    return run


def refused(run):
    """Return the message with which a run is refused."""
    with pytest.raises(DistillError) as caught:
        require_playable(run)
    assert caught.value.exit_status == 2
    return str(caught.value)


def test_a_finished_run_needs_no_recordings(trained, tmp_path):
    """The latents of a finished run are in its folder, wherever its corpus is."""
    run = Run(shutil.copytree(trained.folder, tmp_path / "run"))
    run.recipe.write_text(run.recipe.read_text().replace("recordings", "moved"))
    require_playable(run)


@pytest.mark.parametrize(
    ("path", "where", "corpus"),
    [
        ("/gone", "are no longer in /gone", "CORPUS"),
        ("<arrays>", "were given as arrays, in Python", "CORPUS"),
        ("https://a/b", "are at https://a/b, from where they are not fetched again", "https://a/b"),
    ],
)
def test_the_recordings_of_an_unfinished_run_are_missing(unfinished, path, where, corpus):
    """The message says where they were, and how to go on."""
    unfinished.recipe.write_text(f'[corpus]\npath = "{path}"\n')
    assert refused(unfinished) == (
        f"{unfinished.folder}: is not finished, and the recordings that its sounds would be made of {where}\n"
        f"Finish it: distill train {corpus} --resume --out {unfinished.folder}"
    )


def test_the_recordings_of_an_unfinished_run_are_there(unfinished):
    """Its last checkpoint can be played, and a corpus that no recipe names is the demo corpus."""
    require_playable(unfinished)
    unfinished.recipe.write_text("[corpus]\n")
    require_playable(unfinished)


def test_a_run_without_a_model(unfinished):
    """A run that was stopped before its first checkpoint has nothing to play; the command can be pasted."""
    shutil.rmtree(unfinished.checkpoints)
    run = Run(unfinished.folder.rename(unfinished.folder.with_name("my run")))
    assert refused(run) == (
        f"{run.folder}: holds no model to play yet: it is not finished, and has no checkpoint\n"
        f"Train it on: distill train --resume --out '{run.folder}'"
    )

"""Checks that the page of a run can be served, before anything slow is loaded. Loads no torch."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from shlex import quote

from distill.arguments import is_url
from distill.config.settings import ARRAYS
from distill.errors import InputError, RunError
from distill.storage.checkpoint_files import checkpoint_paths
from distill.storage.ending import ending_of
from distill.storage.run import Run


def require_playable(run: Run) -> None:
    """Check that the page of a run can be served, as far as is known without its model.

    Raises:
        RunError: the folder is not a run, holds no model yet, or is not finished, and the recordings that the
            sounds of its last checkpoint are made of are not there.
        InputError: the extra `distill[play]` is not installed.
    """
    run.require()
    if find_spec("gradio") is None:
        raise InputError(
            "needs Gradio, which is not installed",
            culprit="distill play",
            remedy='Install it: pip install "distill[play]"',
        )
    if uses_checkpoint(run):
        if not checkpoint_paths(run.checkpoints):
            raise RunError(
                "holds no model to play yet: it is not finished, and has no checkpoint",
                culprit=str(run.folder),
                remedy=f"Train it on: distill train --resume --out {quote(str(run.folder))}",
            )
        _require_recordings(run)


def uses_checkpoint(run: Run) -> bool:
    """Return whether a run is not finished, so that the sounds are those of its last checkpoint."""
    return not run.latents.exists() or ending_of(run).state == "running"


def _require_recordings(run: Run) -> None:
    corpus = run.read_recipe().get("corpus")
    path = corpus.get("path") if isinstance(corpus, Mapping) else None
    if not isinstance(path, str):  # the demo corpus, which is made anew
        return
    if path == ARRAYS:
        where, corpus = "were given as arrays, in Python", "CORPUS"
    elif is_url(path):
        where, corpus = f"are at {path}, from where they are not fetched again", quote(path)
    elif not Path(path).exists():
        where, corpus = f"are no longer in {path}", "CORPUS"
    else:
        return
    raise RunError(
        f"is not finished, and the recordings that its sounds would be made of {where}",
        culprit=str(run.folder),
        remedy=f"Finish it: distill train {corpus} --resume --out {quote(str(run.folder))}",
    )

"""Tests of how a training run says that it ended, and of the page at its end."""

import pytest

import distill
from distill.storage.ending import Ending, ending_of


class Watching(distill.Observer):
    """An observer that keeps warnings, and stops at a step by an exception if one is given."""

    def __init__(self, error=None):
        self.error, self.warnings = error, []

    def record(self, record):  # noqa: ARG002  # any
        """Stop."""
        if self.error is not None:
            raise self.error

    def warning(self, warning):
        """Keep a warning."""
        self.warnings.append((warning.about, str(warning)))


def test_a_training_run_ends_with_its_page(arrays, tiny_options, tmp_path):
    """If the page cannot be written, the run is complete all the same, and says what to do."""
    words = {"loss": "recon,kl", "out": tmp_path / "run"}
    options = tiny_options | {"training.page": True, "training.start": "none"}
    run = distill.train(arrays, steps=1, options=options, **words)
    ending = ending_of(run)
    assert (ending.state, ending.kept) == ("finished", None)
    assert run.page.read_text().startswith("<!doctype html>")
    run.page.unlink()
    run.page.mkdir()
    watching = Watching()
    distill.train(arrays, steps=2, resume=True, observer=watching, **words)
    ((about, message),) = watching.warnings
    assert about == "page"
    assert message.endswith(f"The run is complete. Try again with: distill report {run.folder}")
    assert ending_of(run).state == "finished"


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (StopIteration(), Ending(state="interrupted")),
        (ValueError("no"), Ending(state="failed", message="ValueError: no")),
        (distill.DistillError("no", culprit="x"), Ending(state="failed", message="x: no")),
    ],
)
def test_an_error_that_ends_a_training_run_is_kept(arrays, tiny_options, tmp_path, error, ending):
    """An error is raised and kept for `distill runs` and the page; an observer may stop a run."""
    with pytest.raises(type(error)):
        distill.train(
            arrays,
            loss="recon,kl",
            steps=2,
            options=tiny_options,
            out=tmp_path / "run",
            observer=Watching(error),
        )
    assert ending_of(distill.Run(tmp_path / "run")) == ending

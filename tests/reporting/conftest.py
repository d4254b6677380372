"""What the tests of pages share: a run that was trained, with its page, and records that are made up."""

import json
import shutil

import pytest

import distill
from distill.storage.run import Run


@pytest.fixture(scope="session")
def reported(trained, tmp_path_factory):
    """Return a copy of the trained run with its page, not to be changed."""
    run = Run(tmp_path_factory.mktemp("reported") / "run")
    shutil.copytree(trained.folder, run.folder)
    assert distill.report(run) == run.page
    return run


@pytest.fixture
def records():
    """Return a function that makes the records of totals by step, `[(step, train, heldout), ...]`."""

    def make(totals, weight=1.0):
        lines = []
        for step, train, heldout in totals:
            for split, total in (("train", train), ("heldout", heldout)):
                if total is not None:
                    lines.append(
                        {
                            "step": step, "split": split, "seconds": step / 10, "progress": 0.5,
                            "components": {"total": total, "mel": total, "kl": 1e-9},
                            "weights": {"mel": weight, "kl": weight} if split == "train" else {},
                            "audio_rate": 1.0,
                        }
                    )  # fmt: skip
        return lines

    return make


@pytest.fixture
def bare(tmp_path):
    """Return a function that writes a run folder with a recipe and records, and nothing else."""

    def write(records=(), recipe='[loss.mel]\nweight = 1.0\n\n[provenance]\nmel = "distill-mel 0.1.0"\n'):
        run = Run(tmp_path / "run")
        run.folder.mkdir()
        run.recipe.write_text(recipe)
        if records:
            run.metrics.write_text("".join(f"{json.dumps(each)}\n" for each in records))
        return run

    return write

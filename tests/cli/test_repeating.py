"""Tests of distill.cli.repeating: `distill train --repeat-batch`."""

import pytest

FAULTY = """
import distill
from torch import nn
from distill.views import LogMagnitude

class Faulty(nn.Module):
    def __init__(self, config):
        super().__init__()

    def forward(self, inputs):
        value = inputs.view(LogMagnitude())[0].square().mean()
        return {"part": value / (inputs.progress != 0.5)}

@distill.hookimpl
def distill_loss_terms():
    yield distill.TermSpec(name="faulty", config=distill.TermConfig, build=Faulty, summary="")
"""


@pytest.fixture
def broken(install_only, distill, recordings, tiny, tmp_path):
    """Train until a term breaks, and return what the command said."""
    install_only({"my-faulty": ("faulty", FAULTY)})
    words = ("--loss", "recon,faulty", *tiny, "--steps", 4, "--out", tmp_path / "run")
    return distill("train", recordings, *words)


def test_a_step_is_shown_term_by_term(broken, distill, tmp_path):
    """The command that the error gives shows what was said, the files, and each term with its parts."""
    assert broken.status == 1
    problem = "the loss is not finite: faulty (my-faulty 1.5) is inf, faulty/part (my-faulty 1.5) is inf"
    assert f"step 3: {problem}" in broken.err
    assert f"distill train --repeat-batch --out {tmp_path / 'run'} computes the step again" in broken.err
    shown = distill("train", "--repeat-batch", "--out", tmp_path / "run")
    assert (shown.status, shown.err) == (0, "")
    lines = [line.split() for line in shown.out.splitlines()]
    assert shown.out.startswith(f"Step 3: {problem}")
    assert lines[1][:2] == ["Clips", "of"]
    assert lines[2] == ["term", "weight", "value", "weighted", "gradient"]
    assert [line[0] for line in lines[3:8]] == [
        *("reconstruction", "magnitude", "instantaneous_frequency", "faulty", "part"),
    ]
    assert lines[6] == ["faulty", "1", "inf", "inf", "nan", "is", "inf"]
    assert lines[7] == ["part", "inf"]
    assert lines[-1] == ["total:", "inf"]


def test_an_error_of_several_lines_keeps_its_lines(install_only, distill, recordings, tiny, tmp_path):
    """A message of a term that has several lines, as many of torch have, is shown line by line."""
    raising = FAULTY.replace(
        '        return {"part": value / (inputs.progress != 0.5)}',
        '        if inputs.progress:\n            raise ValueError("no bands\\nfor this clip")\n'
        "        return value",
    )
    install_only({"my-faulty": ("faulty", raising)})
    words = ("--loss", "recon,faulty", *tiny, "--steps", 4, "--out", tmp_path / "run")
    distill("train", recordings, *words)
    shown = distill("train", "--repeat-batch", "--out", tmp_path / "run")
    assert shown.status == 0
    assert "ValueError: no bands\nfor this clip" in shown.out
    assert "\N{REPLACEMENT CHARACTER}" not in shown.out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ((), "--repeat-batch needs --out with the run folder that keeps the batch."),
        (
            ("--out", "run", "--steps", 3),
            "--repeat-batch takes the run as it is: pass --out, and --device if need be.",
        ),
        (
            ("sounds", "--out", "run"),
            "--repeat-batch takes the run as it is: pass --out, and --device if need be.",
        ),
    ],
)
def test_what_does_not_go_with_it(distill, words, problem):
    """A repeated batch needs --out, and refuses a corpus and options that choose a training."""
    result = distill("train", "--repeat-batch", *words)
    assert (result.status, result.err.splitlines()[-1]) == (2, f"Error: {problem}")

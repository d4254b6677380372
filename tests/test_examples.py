"""Every example runs as it stands, and trains something."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from runpy import run_path

import pytest

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
SCRIPT = FOLDER / "own_loop.py"
"""The one that is run in a process of its own; the other would take seconds to calibrate a model there."""


def test_there_are_examples():
    """The folder of examples is not empty."""
    assert EXAMPLES


def assert_that_it_falls(printed):
    """Require a total that falls by a fifth."""
    totals = [float(total) for total in re.findall(r"'total': ([0-9.]+)", printed)]
    assert len(totals) >= 20
    assert sum(totals[-5:]) < 0.8 * sum(totals[:5])


def test_the_loss_of_a_script_falls(tmp_path):
    """The loss of an example falls without a warning when the script is run outside the checkout."""
    words = [sys.executable, "-W", "error", SCRIPT]
    result = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert_that_it_falls(result.stdout)


# The script above is not run again: a process of its own takes seconds to import torch.
@pytest.mark.parametrize("path", set(EXAMPLES) - {SCRIPT}, ids=lambda path: path.name)
def test_the_loss_of_an_example_falls(path, tmp_path, monkeypatch, capsys):
    """The loss of an example falls in this process, in which warnings are errors."""
    monkeypatch.chdir(tmp_path)
    run_path(str(path), run_name="__main__")
    out, err = capsys.readouterr()
    assert err == ""
    assert_that_it_falls(out)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_short(path):
    """An example has under 40 lines of code and uses only what Distill exports."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    docstrings = [ast.get_docstring(node, clean=False) or "" for node in ast.walk(tree)
                  if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)]  # fmt: skip
    lines = sum(bool(line.strip()) for line in text.splitlines())
    assert lines - sum(len(text.splitlines()) for text in docstrings) < 40
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {module for module in imported if module.startswith("distill")} == {"distill"}

"""Tests of distill.testing.fixtures: what pytest sees of Distill wherever that is installed."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

QUIET = """
import sys

def test_nothing_heavy_is_loaded():
    assert not {"torch", "numpy", "accelerate"} & set(sys.modules)
"""

USING = """
import pytest
from attrs import frozen
from torch import nn
from types import SimpleNamespace
from distill import TermConfig, TermSpec, hookimpl
from distill.testing import TermCheckError

class Sum(nn.Module):
    def __init__(self, _):
        super().__init__()

    def forward(self, inputs):
        return inputs.posterior.mu.square().sum()

SPEC = TermSpec(name="sum", config=TermConfig, build=Sum, summary="", per_example=False)

def test_check_term(distill_check_term):
    with pytest.raises(TermCheckError, match="1 of .* checks failed\\n  dual_mono: "):
        distill_check_term(SPEC)

def test_loss_inputs(distill_loss_inputs):
    assert distill_loss_inputs(batch=3).batch_size == 3

def test_registry_with(distill_registry_with):
    plugin = SimpleNamespace(distill_loss_terms=hookimpl(lambda: [SPEC]))
    (term,) = distill_registry_with(plugin).choose("sum")
    assert term.spec is SPEC
"""


@pytest.fixture
def site(tmp_path):
    """Install Distill's entry point for pytest in a folder, and return that."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    ((name, value),) = declared["project"]["entry-points"]["pytest11"].items()
    folder = tmp_path / "site" / "distill_entry_point-1.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: distill-entry-point\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"[pytest11]\n{name} = {value}\n")
    return folder.parent


@pytest.fixture
def project(tmp_path):
    """Write the tests in a text as those of another project, and return its folder."""

    def write(source):
        (tmp_path / "project").mkdir()
        (tmp_path / "project" / "test_theirs.py").write_text(source)
        return tmp_path / "project"

    return write


@pytest.fixture
def session(site, project, monkeypatch, capsys):
    """Run the tests in a text as another project does, and return what was printed."""

    def run(source, *words):
        folder = project(source)
        monkeypatch.syspath_prepend(site)
        monkeypatch.chdir(folder)
        monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
        parts = ("cacheprovider", "xdist", "cov")
        without = [word for part in parts for word in ("-p", f"no:{part}")]
        pytest.main(["-q", *without, f"--rootdir={folder}", *words, str(folder)])
        return capsys.readouterr().out

    return run


def test_a_session_of_another_project_loads_no_torch(site, project):
    """The tests of another project run without importing torch where Distill is installed."""
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project(QUIET),
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 passed" in result.stdout, result.stdout + result.stderr


def test_the_fixtures_are_the_functions_of_the_kit(session):
    """The fixtures are available without an import and do what their namesakes in the kit do."""
    printed = session(USING)
    assert "3 passed" in printed, printed


def test_the_fixtures_are_named_after_distill(session):
    """All of them begin with its name, so that none is in another project's way; each says what it is."""
    shown = session("", "--fixtures").split("fixtures defined from distill.testing.fixtures")[1]
    names = [
        line.split(" ")[0] for line in shown.split("\n\n\n")[0].splitlines() if line.startswith("distill")
    ]
    assert names == ["distill_check_term", "distill_loss_inputs", "distill_registry_with"]
    assert "no docstring available" not in shown

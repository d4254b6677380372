"""Tests of benchmarks/gpu.sh, which runs for ten minutes on a machine that is lent for fifteen."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SCRIPT = (ROOT / "benchmarks" / "gpu.sh").read_text(encoding="utf-8")


def names_of(requirements):
    """Return the distributions that are required with Python 3.12 on Linux, without extras."""
    there = {"python_version": "3.12", "python_full_version": "3.12.0", "extra": ""}
    parsed = map(Requirement, requirements)
    return {canonicalize_name(each.name) for each in parsed if not each.marker or each.marker.evaluate(there)}


def with_requirements(names):
    """Return distributions and all that they require."""
    found, to_see = set(), {*names}
    while to_see:
        name = to_see.pop()
        found.add(name)
        to_see |= names_of(requires(name) or ()) - found
    return found


def test_the_files_it_names_are_there():
    """Every test and script that the GPU script names exists."""
    named = set(re.findall(r"\b(?:tests|benchmarks)/[\w/]+(?:\.\w+)?", SCRIPT))
    assert len(named) > 5
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_its_wheels_are_all_that_the_machine_lacks():
    """The wheels cover all that Distill and its tests require and the machine does not have."""
    machine = {"accelerate", "attrs", "click", "numpy", "safetensors", "torch"}
    assert all(name in SCRIPT.split("set -u")[0] for name in machine)  # as the script says
    (listed,) = re.findall(r"-d wheels \\\n(.*?) &&", SCRIPT, re.DOTALL)
    wheels = {canonicalize_name(name) for name in listed.replace("\\\n", " ").split()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    own = names_of(project["dependencies"])
    assert own <= wheels | machine  # also those that torch requires, of which older versions may be there
    needed = with_requirements(own | {"hypothesis", "pytest", "pytest-xdist"})
    assert sorted(needed - wheels - with_requirements(machine)) == []


@pytest.mark.skipif(shutil.which("timeout") is None, reason="needs GNU coreutils")
def test_its_time_may_be_a_part_of_a_minute(tmp_path):
    """Half a minute is enough to begin the first stage, which fails here for lack of wheels."""
    script = tmp_path / "benchmarks" / "gpu.sh"
    script.parent.mkdir()
    script.write_text(SCRIPT, encoding="utf-8")
    options = ["--rehearse", "--minutes", "0.5", "--without", "tests run speed compiled base"]
    environment = os.environ | {"PYTHON": sys.executable, "OUT": str(tmp_path / "out")}
    command = ["/usr/bin/env", "bash", script, *options]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert done.returncode == 1
    summary = (tmp_path / "out" / "summary.md").read_text(encoding="utf-8")
    assert "| environment | failed" in summary

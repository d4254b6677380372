"""Tests of benchmarks/gpu.sh, which runs for ten minutes on a machine that is lent for fifteen."""

import re
import tomllib
from importlib.metadata import requires
from pathlib import Path

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

"""What docs/testing.md says of the kit is what the kit is."""

import inspect
import re
from pathlib import Path

from distill import testing
from distill.testing import fixtures
from distill.testing.checks import CHECKS

ROOT = Path(__file__).parents[2]
PLUGIN_TESTS = ROOT / "plugins" / "distill-band-energy" / "tests" / "test_distill_band_energy.py"
TESTING = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")


def test_the_table_of_checks_is_the_code():
    """The table has a row for each check, in order, with the docstring of the check."""
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", TESTING, re.MULTILINE)
    assert rows == [(check.__name__, " ".join(inspect.getdoc(check).split())) for check in CHECKS]


def test_the_example_is_a_test_that_runs():
    """The code of the example stands line by line in the tests of the plugin that it is about."""
    example = re.search(r"```python\n(.*?)```", TESTING, re.DOTALL).group(1)
    tests = PLUGIN_TESTS.read_text(encoding="utf-8")
    assert set(example.splitlines()) <= set(tests.splitlines())
    assert "check_term(TERM, bands=bands)" in example


def test_every_function_and_fixture_is_named():
    """The page names every public function and fixture."""
    public = {*testing.__all__, *(name for name in vars(fixtures) if name.startswith("distill_"))}
    assert {name for name in public if f"`{name}" not in TESTING} == set()

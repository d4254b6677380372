"""Tests of benchmarks/gpu.sh, which runs for ten minutes on a machine that is lent for fifteen."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_files_it_names_are_there():
    """Tests and scripts that were moved would cost the only run there is."""
    script = (ROOT / "benchmarks" / "gpu.sh").read_text(encoding="utf-8")
    named = set(re.findall(r"\b(?:tests|benchmarks)/[\w/]+(?:\.\w+)?", script))
    assert len(named) > 8
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []

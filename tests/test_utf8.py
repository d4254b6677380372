"""Tests of distill.utf8: paths in any script where Python is told to read them as ASCII."""

import os
import subprocess
import sys

import pytest

from distill.arguments import path_like
from distill.errors import InputError


@pytest.mark.skipif(os.name == "nt", reason="Windows has paths of Unicode")
def test_paths_of_any_script_in_the_c_locale(tmp_path):
    """With LC_ALL=C and PYTHONUTF8=0, a folder is found by its name."""
    (tmp_path / "über").mkdir()
    ascii_alone = {key: value for key, value in os.environ.items() if key != "PYTHONIOENCODING"}
    result = subprocess.run(
        [sys.executable, "-m", "distill", "runs", "über"],
        cwd=tmp_path,
        env=ascii_alone | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode() == "There are no runs in über.\n"  # as click prints in the C locale


def test_a_path_that_python_cannot_open_is_said(monkeypatch):
    """In Python, whose mode cannot change any more, the message says how to start it."""
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "ascii")
    with pytest.raises(InputError) as caught:
        path_like("über", culprit="out", expected="a folder")
    assert str(caught.value) == (
        "out: Python reads paths as ASCII here, and this one has other letters: über\n"
        "Start Python in its UTF-8 mode: with PYTHONUTF8=1 in the environment, or python -X utf8."
    )
    assert path_like("plain", culprit="out", expected="a folder").name == "plain"

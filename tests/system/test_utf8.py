"""Tests of distill.system.utf8: names that are no text, and paths where Python reads ASCII."""

import os
import shutil
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


def test_a_recording_whose_name_is_no_text_is_taken_by_every_command(
    distill, trained, compared_runs, recordings, tiny, tmp_path
):
    """Recordings whose names are not UTF-8 are used as all others; a folder that a recipe names is not."""
    corpus, out = tmp_path / "corpus", tmp_path / "out"
    below = corpus / os.fsdecode(b"b\xff")
    below.mkdir(parents=True)
    for number, source in enumerate(sorted(recordings.rglob("*.wav"))):
        shutil.copy(source, below / os.fsdecode(b"caf\xe9%d.wav" % number))
    odd, one = tmp_path / os.fsdecode(b"odd\xff"), below / os.fsdecode(b"caf\xe90.wav")
    shutil.copytree(corpus, odd)
    both = [run.folder for run in compared_runs]
    for words in (
        ("train", corpus, *tiny, "--loss", "stft", "--steps", 1, "--out", out / "run"),
        ("evaluate", out / "run", "--heldout"),
        ("evaluate", out / "run", odd),
        ("evaluate", out / "run", one, "--csv", out / "table.csv"),
        ("shard", odd, out / "shards", "--rate", 8000),
        ("reconstruct", trained.folder, odd, one, "--out", out / "back"),
        ("generate", trained.folder, "--near", one, "-n", 1, "--out", out / "near"),
        ("compare", *both, "--on", odd, "--trained", "--out", out / "page.html"),
    ):
        result = distill(*words)
        assert (result.status, result.err.count("not valid text")) == (0, 0), result.err
    assert not (out / "run/skipped.txt").exists()
    assert len([*(out / "back").rglob("*.wav")]) == 6
    page = (out / "page.html").read_text(encoding="utf-8")
    assert r"b\xff/caf\xe9" in page
    assert "no such file" not in page
    result = distill("train", odd, "--out", out / "no")
    assert (result.status, result.out) == (2, "")
    assert "its path is not valid text (UTF-8)\nRename it" in result.err

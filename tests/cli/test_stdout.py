"""Tests of distill.cli.stdout: any name on any terminal, and nothing but the product for other programs."""

import json
import os
import shutil
import subprocess
import sys
import tomllib

import pytest
from click.testing import CliRunner

from distill.cli import main
from distill.cli.completion import terms
from distill.cli.stdout import write_any_name

LOUD = """
import os
import sys
print("imported")
os.write(1, b"past Python\\n")
from distill import TermConfig, TermSpec, hookimpl
from torch import nn

class Loud(nn.Module):
    def __init__(self, config):
        super().__init__()

@hookimpl
def distill_loss_terms():
    print("asked")
    return [TermSpec(name="loud", config=TermConfig, build=Loud, summary="a loud term")]
"""

NAMES = ("鐘", "esc\x1b[31m", "line\nbreak", "Ω" * 120, "e" * 240)
BROKEN = "broken\x1b]0;title\x07"


@pytest.fixture
def loud(install_only):
    """Install a plugin that prints whenever it can."""
    install_only({"distill-loud": ("loud", LOUD)})


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["losses", "--json"], json.loads),
        (["losses", "--json", "show", "loud"], json.loads),
        (["recipe", "--loss", "loud,kl"], tomllib.loads),
    ],
)
@pytest.mark.usefixtures("loud")
def test_the_product_alone_is_on_standard_output(words, read):
    """What a plugin prints goes to standard error."""
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0
    assert read(result.stdout)
    assert "imported\nasked\n" in result.stderr


@pytest.mark.usefixtures("loud")
def test_completions_are_not_mixed_with_what_a_plugin_prints(capsys):
    """The output holds the completions alone, because the shell reads it."""
    assert [item.value for item in terms(None, None, "lou")] == ["loud"]
    assert capsys.readouterr().out == ""


def test_what_is_printed_past_python_and_at_the_end_is_kept_out(tmp_path):
    """A process keeps native output, and output at its exit, off its standard output."""
    (tmp_path / "loud.py").write_text(LOUD + '\nimport atexit\natexit.register(print, "at the end")\n')
    info = tmp_path / "loud-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[distill]\nloud = loud\n")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    result = subprocess.run(
        [sys.executable, "-m", "distill", "losses", "--json"],
        env=os.environ | {"PYTHONPATH": path, "DISTILL_PLUGINS": "loud"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "loud" in [term["name"] for term in json.loads(result.stdout)["terms"]]
    assert [
        line for line in ("imported", "past Python", "asked", "at the end") if line not in result.stderr
    ] == []


@pytest.fixture
def show():
    """Return a function that runs a command on a terminal of another encoding."""
    runner = CliRunner(charset="cp1252", env={"COLUMNS": "300"})

    def show(*words, status=0):
        result = runner.invoke(main, [str(word) for word in words])
        assert (words[0], result.exit_code) == (words[0], status), result.stderr
        for text in (result.stdout_bytes, result.stderr_bytes):
            assert b"\x1b" not in text
            assert b"\x07" not in text
        return result.stdout + result.stderr

    return show


@pytest.fixture
def corpus(recordings, tmp_path):
    """Write a corpus of which no name is usual, and one file is no audio."""
    folder = tmp_path / "鐘\x1b"
    folder.mkdir()
    for name in NAMES:
        shutil.copy(recordings / "a.wav", folder / f"{name}.wav")
    (folder / f"{BROKEN}.wav").write_bytes(b"none")
    return folder


def test_any_name_can_be_trained_on(show, corpus, tiny, tmp_path, monkeypatch):
    """Every command accepts any file name, prints it without control characters, and cuts a long one."""
    monkeypatch.chdir(tmp_path)
    half = ("--set", "corpus.heldout_fraction=0.9", "--set", "training.pairs=4", "--loss", "recon")
    assert "broken\\ufffd]0;title\\ufffd.wav" in show("train", corpus, *tiny, *half, "--steps", 1)
    run = tmp_path / "runs" / "鐘_"
    pairs = {path.name for path in (run / "audio").iterdir()}
    assert len(pairs) == 8
    assert "3-line_break.original.wav" in pairs
    assert max(len(name.encode()) for name in pairs) == 255
    assert {name.replace(".original", ".reconstruction") for name in pairs} <= pairs
    assert "holds a run already" in show("train", corpus, "--out", run, status=2)
    shows = show("shard", corpus, "shards\x1b", "--rate", 8000, "--heldout", 0)
    assert "skipped: broken\\ufffd]0;title\\ufffd.wav" in shows


def test_any_name_can_be_reconstructed(show, corpus, trained, tmp_path):
    """A file that cannot be reconstructed does not stop the others, and the end of the output says so."""
    shows = show("reconstruct", trained.folder, corpus, "--out", tmp_path / "made\x1b", status=2)
    assert len(list((tmp_path / "made\x1b").iterdir())) == len(NAMES)
    assert "is not audio that libsndfile reads" in shows
    assert shows.endswith("Error: 1 of the 6 files could not be reconstructed, see above\n")


def test_a_stream_that_is_closed_is_written_to_all_the_same(monkeypatch):
    """A command works as usual when the shell has closed a stream with `>&-`, so that Python has none."""
    monkeypatch.setattr(sys, "stdout", None)
    write_any_name()
    with sys.stdout as stream:
        assert stream.write("lost") == 4


def test_a_terminal_of_no_columns(recordings):
    """Rich would print nothing to it."""
    words = ["ablate", str(recordings), "--loss", "stft,kl", "--each", "--dry-run"]
    assert "without stft" in CliRunner(env={"COLUMNS": "0"}).invoke(main, words).stdout

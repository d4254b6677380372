"""What the README shows is what happens: its commands run, its code is the code."""

import ast
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from distill import MagnitudeIF
from distill.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [
    line.removeprefix(".venv/bin/")
    for language, block in BLOCKS
    for line in block.splitlines()
    if language == "bash" and line.removeprefix(".venv/bin/").startswith("distill ")
]
SMALL = [
    "--set=training.batch_size=2",
    "--set=training.precision=float32",
    "--set=training.clip_seconds=0.2",
    "--set=model.width=8",
    "--set=model.frequency_rank=8",
]


@pytest.fixture
def my_sounds(tmp_path, monkeypatch):
    """Be in a folder with three recordings in `my-sounds`."""
    monkeypatch.chdir(tmp_path)
    folder = Path("my-sounds")
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(3):
        soundfile.write(folder / f"{number}.wav", random.normal(0, 0.1, 22_050), 44_100)


def shortened(words):
    """Give a command's words, a training made short and small, and the file its output goes to."""
    target = Path(words.pop()) if words[-2] == ">" else None
    if target:
        words.pop()
    if words[1] == "train":
        for option in ("--minutes", "--steps"):
            if option in words:
                at = words.index(option)
                del words[at : at + 2]
        words += ["--steps", "2", *SMALL]
    if words[1:3] == ["losses", "profile"]:
        words += ["--batches", "1"]
    return words[1:], target


def test_readme_shows_commands():
    """The commands below are found at all, and the two that set everything up are among them."""
    assert len(COMMANDS) > 8
    assert "distill train --loss stft,recon,kl --minutes 3" in COMMANDS


@pytest.mark.usefixtures("my_sounds")
def test_every_command_runs_in_the_order_shown():
    """Each `distill` command of the README ends with status 0, run one after the other."""
    for command in COMMANDS:
        words = [
            path
            for word in shlex.split(command)
            for path in (sorted(map(str, Path().glob(word))) if "*" in word else [word])
        ]
        arguments, target = shortened(words)
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert result.exit_code == 0, f"{command}\n{result.output}"
        if target:
            target.write_text(result.stdout, encoding="utf-8")


def test_the_plugin_shown_is_the_plugin_shipped():
    """The term in the README is the one in plugins/distill-band-energy, and so is its entry point."""
    shown = next(block for language, block in BLOCKS if language == "python" and "BandEnergy" in block)
    shipped = ROOT / "plugins" / "distill-band-energy"
    module = (shipped / "distill_band_energy.py").read_text(encoding="utf-8")
    assert ast.unparse(ast.parse(shown)) == ast.unparse(ast.parse(module))
    toml = next(block for language, block in BLOCKS if language == "toml")
    assert toml.strip() in (shipped / "pyproject.toml").read_text(encoding="utf-8")


def test_the_loop_shown_runs():
    """The lines on a loop of one's own run as they stand, and give gradients."""
    shown = next(block for language, block in BLOCKS if language == "python" and "compose(" in block)
    waveform = torch.randn(2, 8192, generator=torch.Generator().manual_seed(0))
    spectrogram = MagnitudeIF()(waveform * 0.5).requires_grad_()
    mu, logvar = torch.zeros(2, 4, requires_grad=True), torch.zeros(2, 4, requires_grad=True)
    names = {"waveform": waveform, "spectrogram": spectrogram, "mu": mu, "logvar": logvar}
    exec(shown, names)  # noqa: S102  # our own README
    assert {"total", "stft", "reconstruction", "kl"} <= names["components"].keys()
    assert spectrogram.grad.isfinite().all()
    assert spectrogram.grad.abs().sum() > 0

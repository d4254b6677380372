"""Tests of distill.cli.completion: what the shell completes."""

import os
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete

from distill.cli import main


def completed(*words):
    """Return what the last word can become, the others being there."""
    *before, last = words
    shell = ShellComplete(main, {}, "distill", "_DISTILL_COMPLETE")
    return [item.value for item in shell.get_completions(before, last)]


CASES = [
    ("train --loss st", ["stft"]),
    ("train --loss stft,rec", ["stft,reconstruction", "stft,recon"]),
    ("train --loss recon,rec", []),
    ("evaluate --loss wave", ["waveform"]),
    ("losses profile --loss stf", ["stft"]),
    ("losses show rec", ["reconstruction", "recon"]),
    ("losses show grad", ["gradient"]),
    ("losses check wavef", ["waveform"]),
    ("train --balance g", ["gradient"]),
    ("train --device c", ["cpu", "cuda"]),
    ("train --loss kl --set loss.kl.wei", ["loss.kl.weight_max="]),
    ("recipe --set training.learn", ["training.learning_rate="]),
    ("recipe --balance gradient --set balancing.gradient.d", ["balancing.gradient.decay="]),
    ("losses check kl --set loss.kl.f", ["loss.kl.free_bits="]),
    ("train --loss nothing --set loss.", []),
    ("losses profile --target st", ["stft="]),
    ("losses profile --target stft=0.6,rec", ["stft=0.6,reconstruction=", "stft=0.6,recon="]),
    ("losses profile --target recon=0.6,rec", []),
    ("ablate --measure t", ["tones", "texture"]),
    ("evaluate runs/first --columns a", ["all"]),
    ("evaluate runs/first --columns mel,s", ["mel,stoi", "mel,snr", "mel,si_sdr"]),
    ("evaluate runs/first --checkpoint b", ["best"]),
    ("generate runs/first --axis b", []),
]


@pytest.mark.parametrize(("words", "expected"), CASES)
def test_what_a_word_can_become(words, expected):
    """Completion offers terms, aliases, addresses, balancers, devices, measures and checkpoints."""
    assert completed(*words.split()) == expected


@pytest.mark.parametrize(
    "words",
    [
        "train my-s",
        "ablate my-s",
        "evaluate runs/first my-s",
        "losses profile my-s",
        "ablate --on my-s",
        "generate runs/first --near my-s",
        "generate runs/first --between one.wav my-s",
    ],
)
def test_paths_are_completed_by_the_shell(words):
    """The shell completes file names, also where a URL or the name of a recording is accepted."""
    *before, last = words.split()
    (item,) = ShellComplete(main, {}, "distill", "_DISTILL_COMPLETE").get_completions(before, last)
    assert (item.type, item.value) == ("file", last)


def test_the_checkpoints_of_a_run_are_completed(trained, tmp_path):
    """The four steps of the run end with a checkpoint. A file that is not a run has none."""
    assert completed("evaluate", str(trained.folder), "--checkpoint", "4") == ["4"]
    assert completed("train", "--resume", "--out", str(trained.folder), "--from", "4") == ["4"]
    (tmp_path / "checkpoints").touch()
    assert completed("evaluate", str(tmp_path), "--checkpoint", "") == ["best", "last"]


def test_the_axes_of_a_run_are_completed(measured, tmp_path):
    """Names without a blank are offered, from the file in the run folder. A damaged file has none."""
    assert completed("generate", str(measured), "--axis", "lou") == ["loudness="]
    assert completed("generate", str(measured), "--axis", "axis") == []
    (tmp_path / "axes.safetensors").write_bytes(b"damaged")
    assert completed("generate", str(tmp_path), "--axis", "") == []


def test_a_shell_is_told():
    """The command answers a completion request in the protocol of bash."""
    words = {"COMP_WORDS": "distill train --device cp", "COMP_CWORD": "3"}
    asked = {**os.environ, "_DISTILL_COMPLETE": "bash_complete", **words}
    command = [sys.executable, "-m", "distill"]
    result = subprocess.run(command, env=asked, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "plain,cpu\n"), result.stderr

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
]


@pytest.mark.parametrize(("words", "expected"), CASES)
def test_what_a_word_can_become(words, expected):
    """Terms and aliases in lists, balancers, devices, and the addresses that the chosen terms have."""
    assert completed(*words.split()) == expected


def test_a_shell_is_told():
    """As bash asks."""
    words = {"COMP_WORDS": "distill train --device cp", "COMP_CWORD": "3"}
    asked = {**os.environ, "_DISTILL_COMPLETE": "bash_complete", **words}
    command = [sys.executable, "-m", "distill"]
    result = subprocess.run(command, env=asked, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "plain,cpu\n"), result.stderr

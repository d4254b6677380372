"""What is given to distill.train and does not fit is refused, with one message."""

import subprocess
import sys

import pytest

import distill
from distill import Observer
from distill.errors import ConfigError, InputError, RunError, TermError


class Watcher(Observer):
    """An observer."""


class Deaf:
    """No observer: it lacks methods."""

    def record(self, record):
        """Do nothing."""

    def __repr__(self):
        return "Deaf()"


def endless_table():
    """Return a table that contains itself."""
    table = {}
    table["seed"] = table
    return table


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (
            {"observer": Deaf()},
            InputError,
            (
                "observer: an observer has the methods summary, record, warning and done: got Deaf()\n"
                "Make it a subclass of distill.Observer, which has all four."
            ),
        ),
        (
            {"observer": Watcher},
            InputError,
            "observer: expected an observer, got the class Watcher\nMake an object of it: observer=Watcher()",
        ),
        (
            {"on_progress": 3},
            InputError,
            "on_progress: expected a function, got 3\nPass a function, or leave it out.",
        ),
        ({"out": 3}, InputError, "out: expected a folder, got 3"),
        ({"recipe": 3}, InputError, "recipe: expected a Recipe, a TOML file or its content, got 3"),
        (
            {"recipe": {"training": endless_table()}},
            ConfigError,
            "recipe: training: has more than 32 nested levels, or contains itself",
        ),
        *(
            (
                {"options": options},
                InputError,
                (
                    f"options: expected values by their address, got {options!r}\n"
                    'Pass a dict, such as {"stft.weight": 2.0}.'
                ),
            )
            for options in ("stft.weight=2", 3, None, {1: 2}, [1])
        ),
        (
            {"device": "cuda", "options": {"training.device": "cpu"}},
            ConfigError,
            (
                "training.device: is set twice, to 'cuda' as the argument device and to 'cpu' as "
                "'training.device'; set it once"
            ),
        ),
        (
            {
                "loss": "stft",
                "seed": 1,
                "options": {
                    "training": {"seed": 2},
                    "training.keep": "x",
                    "stft.weight": 1,
                    "loss.stft.weight": 2,
                },
            },
            ConfigError,
            (
                "training.seed: is set twice, to 1 as the argument seed and to 2 as 'training'; set it once\n"
                "loss.stft.weight: is set twice, to 1 as 'stft.weight' and to 2 as "
                "'loss.stft.weight'; set it once\n"
                'training.keep: expected a number, got "x"'
            ),
        ),
        (
            {"loss": {"stft": 2.0}},
            TermError,
            (
                "expected the names of loss terms, got a dict\n"
                'Pass weights as options, such as {"stft.weight": 2.0}.'
            ),
        ),
        (
            {"loss": 3},
            TermError,
            (
                "expected the name of a loss term or a TermSpec, got 3\n"
                "A TermSpec(name=..., config=..., build=..., summary=...) makes a term of a module."
            ),
        ),
        ({"loss": "recon", "balance": 3}, TermError, "expected the name of a balancer, got 3"),
        ({"resume": True}, InputError, "resume: resume needs out, the run folder to go on with"),
        (
            {"corpus": 3},
            InputError,
            (
                "corpus: a corpus is a path, a URL or arrays: got a int\n"
                "Pass arrays as [(name, waveform, sample_rate), ...]."
            ),
        ),
        (
            {"recipe": {"corpus": {"path": "<arrays>"}}},
            RunError,
            (
                "recipe: its corpus was given as arrays, in Python, and is missing\n"
                "Use another corpus: distill train CORPUS --config FILE"
            ),
        ),
        (
            {"steps": 1, "minutes": 2.0},
            ConfigError,
            "training: set either minutes or steps, not both: 2 and 1",
        ),
    ],
)
def test_what_does_not_fit(words, kind, message, tmp_path, monkeypatch):
    """Arguments that do not fit are refused with one message, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind) as caught:
        distill.train(**words)
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []


def test_what_is_wrong_with_a_recipe_is_told_before_torch_is_loaded():
    """A wrong recipe is refused before torch is imported."""
    code = (
        "import sys, distill\n"
        "try:\n    distill.train(loss='recon', options={'recon.weigth': 2.0})\n"
        "except distill.DistillError as error:\n    print(error)\n"
        "sys.exit('torch' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("loss.reconstruction.weigth: unknown option, got 2.0")

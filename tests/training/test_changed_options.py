"""Tests of distill.training.changed_options: what may differ from the checkpoint when a run is resumed."""

from pathlib import Path

import pytest

from distill.errors import ConfigError
from distill.plugin.registry import Registry
from distill.recipe import read_recipe
from distill.storage.run import Run
from distill.training.changed_options import options_of, require_recorded_options


def draft(*options, loss="recon,kl"):
    """Read a recipe."""
    return read_recipe({}, Registry(discover=False), loss=loss, assignments=options)


def refused(changed, recorded, *, accept=False):
    """Return the options that a resumed run is refused for."""
    state = {"made_with": {"recipe": recorded}}
    try:
        require_recorded_options(changed, state, Run(Path("run")), accept=accept)
    except ConfigError as error:
        return error.problem.partition("differs: ")[2].split(", ")
    return []


BEFORE = options_of(draft().recipe)


@pytest.mark.parametrize(
    ("options", "differing"),
    [
        ([("training.batch_size", 2), ("training.seed", 3)], ["training.batch_size", "training.seed"]),
        ([("training.mix", 0.3)], ["training.mix"]),  # not set before
        ([("model.width", 64)], ["model.width"]),
        ([("loss.kl.free_bits", 0.3)], ["loss.kl.free_bits"]),
        ([("training.steps", 3), ("training.device", "cpu"), ("corpus.path", "x")], []),
        ([("loss.recon.weight", 3.0), ("loss.kl.weight_max", 1.0)], []),
    ],
)
def test_options_that_differ_are_named(options, differing):
    """A resumed run is refused for options that differ, unless they are free to change."""
    assert refused(draft(*options), BEFORE) == differing


def test_terms_that_came_and_went_are_named():
    """All options but the weight of a term that came or went differ, unless changes are accepted."""
    more = draft(loss="stft,recon,kl")
    came = refused(more, BEFORE)
    assert "loss.stft.fft_sizes" in came
    assert all(path.startswith("loss.stft.") for path in came)
    assert "loss.stft.fft_sizes" in refused(draft(), options_of(more.recipe))
    assert refused(more, BEFORE, accept=True) == []


def test_the_model_stays():
    """Options of the model and the representation cannot change, even if changes are accepted."""
    other = draft(("model.width", 64), ("representation.hop", 256), ("training.seed", 1))
    assert refused(other, BEFORE, accept=True) == ["model.width", "representation.hop"]


def test_an_option_of_another_version_does_not_differ():
    """An option that only the recipe or only the checkpoint knows is no difference."""
    older = {path: value for path, value in BEFORE.items() if path != "training.mix"}
    assert refused(draft(("training.mix", 0.3)), older | {"training.gone": 1}) == []
    assert refused(draft(), None) == []

"""Tests of distill.evaluation.contest: a model and its baselines, measured on one corpus."""

import pytest
import torch

from distill.evaluation.contest import evaluate_model
from distill.model.loading import load_model
from distill.spectral.metrics import log_spectral_distance
from distill.storage.run import Run


@pytest.fixture
def measure(trained, tmp_path):
    """Measure the tiny model on arrays."""
    vae, representation = load_model(Run(trained.folder))

    def measure(run, arrays, **options):
        return evaluate_model(vae, representation, run, arrays, cache=tmp_path, visqol=False, **options)

    return measure


def test_the_contenders_are_those_that_can_be_made(measure, trained, arrays):
    """Two baselines are missing without a run, and the table says why."""
    table = measure(Run(trained.folder), arrays)
    assert [*table.contenders] == ["model", "linear_code", "mean_spectrum", "silence", "ceiling"]
    assert table.without_baselines == ""
    assert {row.trained_on for row in table.rows} == {False}
    bare = measure(None, arrays)
    assert [*bare.contenders] == ["model", "silence", "ceiling"]
    assert bare.without_baselines == "they are made of the recordings of a run, and the base model has none"
    assert {row.trained_on for row in bare.rows} == {None}
    assert bare.mean == table.mean


def test_silence_is_measured_as_silence(measure, arrays):
    """The baseline of silence has the distance that the formula gives for one recording."""
    name, waveform, _ = arrays[1]
    table = measure(None, [arrays[1]])
    distance = table.contenders["silence"].mean.log_spectral_distance
    expected = [float(log_spectral_distance(torch.zeros_like(each), each)) for each in waveform]
    assert distance == pytest.approx(sum(expected) / 2, rel=1e-4)
    assert table.rows[0].name == name

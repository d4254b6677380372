"""Tests of distill.evaluation.spreadsheet: what is in the file, as another program reads it."""

import csv

import attrs
import pytest

from distill.evaluation import Evaluation, Metrics, Result
from distill.evaluation.spreadsheet import csv_text

METRICS = Metrics(
    log_spectral_distance=4.0,
    multi_resolution_stft=1.5,
    snr=0.1 + 0.2,
    si_sdr=-10.0,
    level_difference=-3.0,
    peak=0.5,
    mel=3.0,
    tones=None,
    texture=4.0,
    original_texture=6.0,
    terms={"mel": 1.0},
)


def read(*results, **of_set):
    """Return the rows of a model's results as Python's reader of CSV has them."""
    text = csv_text({"model": Evaluation(results, **of_set)}, {"a": True, "b": False})
    return list(csv.DictReader(text.splitlines(keepends=True)))


def test_every_measure_of_every_row():
    """The mean comes first, terms are kept apart from measures of the same name, and no digit is lost."""
    silent = Result(name="b", metrics=None, left_out="the recording is silent")
    louder = Result(name="c", metrics=attrs.evolve(METRICS, level_difference=5.0))
    mean, first, second, third = read(
        Result(name="a", metrics=METRICS), silent, louder, frechet=1.5, frechet_frames=500
    )
    assert [row["row"] for row in (mean, first, second, third)] == ["mean", *["recording"] * 3]
    assert list(mean) == [
        *("row", "contender", "recording", "trained_on", "left_out"),
        *(name for name in attrs.fields_dict(Metrics) if name != "terms"),
        *("mean_absolute_level", "frechet", "frechet_frames", "terms.mel"),
    ]
    assert (mean["level_difference"], mean["mean_absolute_level"], mean["frechet"]) == ("1.0", "4.0", "1.5")
    assert (mean["recording"], mean["trained_on"], mean["frechet_frames"]) == ("", "", "500")
    assert (first["recording"], first["trained_on"], first["frechet"]) == ("a", "true", "")
    assert (float(first["snr"]), first["tones"], first["mel"], first["terms.mel"]) == (
        0.1 + 0.2,
        "",
        "3.0",
        "1.0",
    )
    assert (second["trained_on"], second["left_out"], second["mel"]) == (
        "false",
        "the recording is silent",
        "",
    )
    assert third["trained_on"] == ""


@pytest.mark.parametrize("name", ['a,"b".wav', "two\nlines.wav", "é.wav"])
def test_names_are_kept(name):
    """Names of recordings survive, whatever characters they have."""
    _, row = read(Result(name=name, metrics=METRICS))
    assert row["recording"] == name


@pytest.mark.parametrize("name", ["=1+1.wav", "@a.wav", "+a.wav", "-a.wav"])
def test_a_name_is_no_formula(name):
    """A name that a spreadsheet would compute is written as a path that means the same file."""
    _, row = read(Result(name=name, metrics=METRICS))
    assert row["recording"] == f"./{name}"


def test_nothing_is_a_head():
    """Without contenders there are no rows."""
    assert csv_text({}, {}).splitlines()[0].startswith("row,contender,recording,")

"""The result of an ablation as text and as files."""

import csv
import io
import math
from pathlib import Path

import pytest
from attrs import evolve

from distill.ablation.effects import Effect
from distill.ablation.plan import Plan, Variant
from distill.ablation.result import Ablation
from distill.comparison.statistics import Interval


def effect(measure, mean, low, high, **more):
    """Return an effect of leaving out a term."""
    given = {"reference": 1.5, "worse": True, "beyond_chance": False, "seeds": 3, "recordings": 13} | more
    return Effect(variant="without-stft", measure=measure, difference=Interval(mean, low, high), **given)


@pytest.fixture
def found():
    """Return the result of an ablation with two variants, one of which has failed."""
    return Ablation(
        folder=Path("out"),
        plan=Plan(
            corpus=None,
            variants=(
                Variant(name="all", loss=("stft", "kl")),
                Variant(name="without-stft", loss=("kl",), left_out="stft"),
                Variant(name="without-kl", loss=("stft",), left_out="kl"),
            ),
            seeds=(0, 1, 2),
            runs=(),
        ),
        effects=(
            effect("mel", 0.25, 0.2, 0.3, beyond_chance=True),
            effect("tones", 0.0125, -0.01, 0.03, worse=False),
        ),
        values={"all": {0: {"a.wav": {"mel": 1.5, "tones": math.nan}}}},
        failed={"without-kl-seed0": "out of luck"},
        notes=("2 of the recordings were trained on: measure on others with --on.",),
    )


def test_an_option_is_named_by_its_address(found):
    """The address of an option is as it was given, also where a sentence begins with it."""
    plan = evolve(
        found.plan,
        variants=(
            Variant(name="stft.weight=1", loss=("stft",), settings=(("loss.stft.weight", 1),)),
            Variant(name="stft.weight=2", loss=("stft",), settings=(("loss.stft.weight", 2),)),
        ),
    )
    assert evolve(found, plan=plan, effects=()).verdicts == ("stft.weight=2: not compared.",)


def test_the_text_says_what_each_term_is_worth(found):
    """The text fits 80 columns and has the direction, interval and significance of each effect."""
    assert str(found) == (
        "without stft\n"
        "              better  reference    change   95 % interval\n"
        "  mel dB       lower      1.500    +0.250*  +0.200 to +0.300      worse\n"
        "  tones       higher      1.500    +0.013   -0.010 to +0.030\n"
        "\n"
        "without kl\n"
        "  no run to compare\n"
        "\n"
        "Differences from the reference, with 95 % intervals over 3 seeds and 13\n"
        "  recordings (hierarchical bootstrap, paired). * marks those larger than\n"
        "  chance: 2 comparisons, corrected by Holm's method, so that any mark at all is\n"
        "  there by chance with a probability of 5%.\n"
        "Without stft: worse in mel dB.\n"
        "Without kl: not compared.\n"
        "2 of the recordings were trained on: measure on others with --on."
    )


def test_programs_read_json_and_csv(found):
    """The files have null for what is not a number, and CSV has a line for each variant and measure."""
    told = found.to_dict()
    assert told["values"] == {"all": {"0": {"a.wav": {"mel": 1.5, "tones": None}}}}
    assert told["failed"] == {"without-kl-seed0": "out of luck"}
    assert [each["name"] for each in told["variants"]] == ["all", "without-stft", "without-kl"]
    first, second = csv.DictReader(io.StringIO(found.to_csv()))
    assert first == {
        "variant": "without-stft",
        "measure": "mel",
        "better": "lower",
        "reference": "1.5",
        "difference": "0.25",
        "low": "0.2",
        "high": "0.3",
        "worse": "True",
        "beyond_chance": "True",
        "seeds": "3",
        "recordings": "13",
    }
    assert second["better"] == "higher"


def test_one_seed_says_nothing_of_seeds(found):
    """The text says that one seed does not show how much seeds vary."""
    alone = Ablation(
        folder=found.folder,
        plan=found.plan,
        effects=(effect("mel", 1.0, 0.0, 2.0, seeds=1),),
        values={},
        failed={},
    )
    assert "One seed says nothing of how much seeds differ: use --seeds 3." in alone.reading

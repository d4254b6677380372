"""What a variant is worth, and whether that is more than chance."""

import math

import numpy as np
import pytest

from distill.ablation.effects import beyond_chance, effects
from distill.ablation.measures import MEASURES, measure_named
from distill.errors import DistillError


def values(table):
    """Return the mel distances and Zimtohrli scores `[S, F]` of a variant by seed, recording and measure."""
    return {
        seed: {f"{number}.wav": {"mel": mel, "zimtohrli": 5 - mel} for number, mel in enumerate(row)}
        for seed, row in enumerate(table)
    }


def test_a_difference_is_paired_by_seed_and_recording():
    """Recordings and seeds that differ far more than the variants do not hide the difference."""
    generator = np.random.default_rng(0)
    base = 10 * generator.normal(size=(3, 8)) + 100 * generator.normal(size=(3, 1))
    worse = base + 0.3 + 0.01 * generator.normal(size=(3, 8))
    mel, zimtohrli = sorted(
        effects({"all": values(base), "other": values(worse)}, "all"), key=lambda each: each.measure
    )
    assert (mel.variant, mel.measure, mel.seeds, mel.recordings) == ("other", "mel", 3, 8)
    assert mel.reference == pytest.approx(base.mean())
    assert mel.difference.mean == pytest.approx((worse - base).mean())
    assert 0.28 < mel.difference.low < mel.difference.mean < mel.difference.high < 0.32
    assert mel.beyond_chance
    assert mel.worse
    # The same difference of a score of which more is better.
    assert zimtohrli.difference.mean == pytest.approx(-mel.difference.mean)
    assert zimtohrli.worse


def test_equal_variants_and_measures_that_nobody_has_differ_in_nothing():
    """No difference is neither better nor worse, and no comparison is made of what was not measured."""
    same = values([[1.0, 2.0], [3.0, 4.0]])
    lacking = {
        seed: {name: each | {"tones": math.nan} for name, each in row.items()} for seed, row in same.items()
    }
    found = effects({"all": same, "other": lacking}, "all")
    assert {each.measure for each in found} == {"mel", "zimtohrli"}
    assert [(each.difference.mean, each.worse, each.beyond_chance) for each in found] == [
        (0, None, False)
    ] * 2


def test_only_seeds_and_recordings_that_both_have_are_compared():
    """A run that failed takes its seed with it."""
    base, other = values([[1.0, 2.0, 9.0]] * 3), values([[2.0, 3.0]] * 2)
    mel = next(each for each in effects({"all": base, "other": other}, "all") if each.measure == "mel")
    assert (mel.seeds, mel.recordings, mel.difference.mean) == (2, 2, 1)
    assert effects({"all": {}, "other": other}, "all") == ()


def test_the_correction_is_that_of_holm(stats):
    """It finds what Holm's method finds with the t test's p-values, and fewer than no correction does."""
    generator = np.random.default_rng(6)
    shifts = [2.0, 1.4, 0.5, 0.0, 0.0]
    tables = [shift + generator.normal(size=(1, 20)) for shift in shifts]
    p = np.array([stats.ttest_1samp(table[0], 0).pvalue for table in tables])
    order = np.argsort(p)
    accepted = [bool(p[index] <= 0.05 / (len(p) - rank)) for rank, index in enumerate(order)]
    count = accepted.index(False)
    expected = {int(index) for index in order[:count]}
    assert {index for index, found in enumerate(beyond_chance(tables)) if found} == expected
    assert 2 <= len(expected) < sum(p < 0.05)


def test_no_comparison_is_no_error():
    """A result without comparisons, as where all variants have failed, is no error."""
    assert beyond_chance([]) == []


def test_a_measure_has_a_name():
    """A measure is found by its name, and a misspelt name is refused with one message."""
    assert measure_named("mel") is MEASURES["mel"]
    with pytest.raises(DistillError) as caught:
        measure_named("mle")
    assert str(caught.value) == (
        "measure: there is no measure 'mle'; did you mean 'mel'?\n"
        "Choose from: zimtohrli, tones, texture, level, mel, lsd, mr_stft"
    )

"""Tests of the table of measures, with values calculated by hand."""

import attrs
import pytest

from distill.comparison.table import table_of
from distill.evaluation.results import Metrics

PLAIN = Metrics(
    log_spectral_distance=1.0, multi_resolution_stft=1.0, snr=1.0, si_sdr=1.0, level_difference=0.0, peak=0.5,
    mel=2.0, tones=None, texture=5.0, original_texture=5.0,
)  # fmt: skip


def metrics(**changed):
    """Return metrics with some values."""
    return attrs.evolve(PLAIN, **changed)


def row(rows, key):
    """Return the row of a measure."""
    return next(each for each in rows if each.scale.key == key)


def test_a_certain_difference_counts_and_others_do_not():
    """Mel distances are lower by 1, give or take; levels differ as often to one side as to the other."""
    files = range(8)
    first = {f"{n}": metrics(mel=2.0 + n, level_difference=0.5) for n in files}
    second = {f"{n}": metrics(mel=1.0 + n + 0.1 * (n % 2), level_difference=-0.5 + (-1) ** n) for n in files}
    rows = table_of([first, second])
    one, other = row(rows, "mel").cells
    assert (one.mean, one.difference, one.best, one.better) == (5.5, None, False, None)
    assert other.difference.mean == pytest.approx(-0.95)
    assert (other.best, other.better) == (True, True)
    levels = row(rows, "level")
    assert [cell.mean for cell in levels.cells] == [0.5, 1.0]  # sizes: +0.5 and -1.5
    assert levels.cells[1].difference.mean == 0.5
    assert levels.cells[1].better is None
    assert levels.cells[0].best


def test_of_means_that_look_equal_none_is_the_best():
    """No run is marked best by a difference smaller than the digits shown."""
    runs = [{f"{n}": metrics(mel=mel) for n in range(3)} for mel in (2.001, 2.002, 2.5)]
    assert [cell.best for cell in row(table_of(runs[:2]), "mel").cells] == [False, False]
    assert [cell.best for cell in row(table_of(runs), "mel").cells] == [True, True, False]


def test_a_difference_that_is_shown_as_0_does_not_count():
    """A run is not better by a difference smaller than the digits shown, however certain that is."""
    runs = [{f"{n}": metrics(mel=n + mel) for n in range(5)} for mel in (2.0, 1.996, 1.99)]
    _, less, more = row(table_of(runs), "mel").cells
    assert less.difference.certain
    assert (less.better, more.better) == (None, True)


def test_higher_is_better_for_ratings():
    """A rating that falls in every file is reported as worse."""
    first = {f"{n}": metrics(zimtohrli=4.0) for n in range(3)}
    second = {f"{n}": metrics(zimtohrli=3.0) for n in range(3)}
    assert [cell.better for cell in row(table_of([first, second]), "zimtohrli").cells] == [None, False]


def test_a_measure_that_a_file_lacks_is_left_out_of_all_runs():
    """A measure that one file lacks is left out of all runs; one that no file has is no row."""
    first = {"a": metrics(tones=0.5), "b": metrics(tones=0.9), "c": None}
    second = {"a": metrics(tones=0.7), "b": metrics(), "c": metrics()}
    rows = table_of([first, second, None])
    tones = row(rows, "tones")
    assert (tones.count, [cell.mean for cell in tones.cells]) == (1, [0.5, 0.7, None])
    assert not tones.cells[1].difference.certain  # one recording says nothing of chance
    assert row(rows, "mel").count == 2
    assert "zimtohrli" not in [each.scale.key for each in rows]


def test_silence_has_no_level_and_no_si_sdr():
    """A recording that one run makes silent does not count in these of any run, as it has none in dB."""
    loud = {"a": metrics(level_difference=1.0, si_sdr=3.0), "b": metrics(level_difference=2.0, si_sdr=4.0)}
    quiet = loud | {"a": metrics(level_difference=-200.0, si_sdr=-200.0, peak=0.0)}
    rows = table_of([loud, quiet])
    for key, value in (("level", 2.0), ("si_sdr", 4.0)):
        found = row(rows, key)
        assert (found.count, [cell.mean for cell in found.cells]) == (1, [value, value])
    assert row(rows, "mel").count == 2

"""Tests of the facts of a comparison."""

import attrs

from distill.comparison.gathering import missing_measures
from distill.comparison.measures import FileMeasures


def test_of_many_recordings_without_measures_some_are_named(comparison):
    """Ten recordings without measures are named for each run, and a note says where all are."""
    first, second = comparison.facts.runs
    files = tuple(
        FileMeasures(
            name=f"{number}.wav", digest=f"{number}", trained_on=False, metrics=None, left_out="it is silent"
        )
        for number in range(12)
    )
    first = attrs.evolve(first, measures=attrs.evolve(first.measures, files=files))
    notes = missing_measures([first, attrs.evolve(second, measures=None)], {each.key for each in files})
    assert notes[:10] == [f"first has no measures of {number}.wav: it is silent." for number in range(10)]
    assert notes[10:] == [
        f"first has no measures of 2 more recordings; {first.run.measures} has all of them."
    ]
    assert missing_measures([first], {"3"}) == ["first has no measures of 3.wav: it is silent."]

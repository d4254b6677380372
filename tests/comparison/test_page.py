"""Tests of the page of a comparison as a file; what a browser makes of it is in test_browser.py."""

import attrs

from distill.comparison.gathering import Shared
from distill.comparison.page import render


def test_many_recordings_are_named_in_part(comparison):
    """Of many recordings, 200 are named, and a sentence says where the others are."""
    many = tuple(Shared(name=f"<b>{number}.wav", key=f"{number}") for number in range(1234))
    page = render(attrs.evolve(comparison.facts, recordings=many))
    assert page.count("<li>&lt;b&gt;") == 200
    assert "<summary>The recordings (1,234)</summary>" in page
    assert "The first 200 are shown; <code>distill compare RUN RUN --json</code> lists all." in page
    page = render(attrs.evolve(comparison.facts, recordings=many[:200]))
    assert (page.count("<li>&lt;b&gt;"), "are shown; <code>" in page) == (200, False)

"""The seeds of an ablation, given as a number, as text, or one by one."""

import pytest

from distill.ablation.seeds import parse_seeds
from distill.errors import DistillError


def test_seeds():
    """A number of seeds counts from 0, and a list of seeds is used as it is."""
    assert parse_seeds(3) == parse_seeds("3") == (0, 1, 2)
    assert parse_seeds("7,") == parse_seeds([7]) == (7,)
    assert parse_seeds(" 4, 5") == (4, 5)
    with pytest.raises(DistillError) as caught:
        parse_seeds("many")
    assert str(caught.value) == (
        "seeds: expected the number of seeds, or seeds, got 'many'\n"
        "For example 3 for the seeds 0, 1 and 2, or 7,8,9 for these."
    )

"""Tests of sounds as values."""

import pytest

from distill.playing.sound import MOST_NESTED, Between, Near, Random, Recording, Sound, seed_like

ONE, OTHER = Recording(name="a.wav"), Recording(name="<b>.wav")
SOUNDS = {
    "Random 7": Sound(source=Random(seed=7)),
    "a.wav, brightness +0.5": Sound(source=ONE, axes=[("brightness", 0.5)], seconds=2.0),
    "a.wav → <b>.wav, 25%": Sound(source=Between(first=ONE, second=OTHER, position=0.25)),
    "a.wav, varied 50% (3), 25% (4)": Sound(
        source=Near(origin=Near(origin=ONE, amount=0.5, seed=3), amount=0.25, seed=4)
    ),
}


@pytest.mark.parametrize("title", SOUNDS)
def test_a_sound_is_named_and_comes_back_from_plain_data(title):
    """The sound that is read back equals the original."""
    assert str(SOUNDS[title]) == title
    assert Sound.from_tree(SOUNDS[title].to_tree()) == SOUNDS[title]


def test_a_shift_replaces_the_one_before():
    """A shift of 0 removes it."""
    sound = SOUNDS["a.wav, brightness +0.5"]
    assert sound.along("brightness", -1.0).axes == (("brightness", -1.0),)
    assert sound.along("attack", 1.0).axes == (("attack", 1.0), ("brightness", 0.5))
    assert sound.along("brightness", 0.0).axes == ()


def nested(depth):
    """Return the plain data of variations of variations."""
    tree = {"random": 1}
    for _ in range(depth):
        tree = {"near": [tree, 0.5, 1]}
    return {**tree, "axes": {}}


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ([], "expected a sound, got a list"),
        ({"axes": {}}, "expected one of random, recording, between and near"),
        ({"random": 1, "recording": "a", "axes": {}}, "expected one of random, recording, between and near"),
        ({"random": -1, "axes": {}}, f"expected a whole number from 0 to {2**63 - 1}, got -1"),
        ({"random": 1}, "expected axes by name"),
        ({"recording": "", "axes": {}}, "expected a name, got ''"),
        ({"between": ["a", "b"], "axes": {}}, "expected three values for between"),
        ({"between": ["a", "b", 2], "axes": {}}, "expected a number within 0..1, got 2"),
        ({"between": ["a", "b", float("nan")], "axes": {}}, "expected a number within 0..1, got nan"),
        ({"near": [3, 0.5, 1], "axes": {}}, "expected a sound, got a int"),
        ({"random": 1, "axes": {"x": 1e9}}, "expected a number within -1000..1000, got 1000000000.0"),
        ({"random": 1, "axes": {}, "seconds": 1e9}, "expected a number within 0.05..60, got 1000000000.0"),
        (nested(MOST_NESTED + 1), f"expected at most {MOST_NESTED} variations of variations"),
    ],
)
def test_what_is_no_sound_is_refused(tree, problem):
    """Any other content of a file is an error."""
    with pytest.raises(ValueError, match="expected") as caught:
        Sound.from_tree(tree)
    assert str(caught.value) == problem


def test_seeds_come_from_a_browser():
    """A browser sends a seed as a float without a fraction."""
    assert seed_like(3.0) == 3
    assert Sound.from_tree(nested(MOST_NESTED)).source.nested == MOST_NESTED
    for wrong in (0.5, True, "3", None):
        with pytest.raises(ValueError, match="expected a whole number"):
            seed_like(wrong)

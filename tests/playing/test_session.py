"""Tests of what a page remembers."""

import copy

import pytest

from distill.errors import InputError
from distill.playing.session import MOST_UNDONE, Desk, Session, Take
from distill.playing.sound import Random, Sound

ONE, TWO = (Sound(source=Random(seed=seed)) for seed in (1, 2))


def test_undo_goes_back():
    """Undo goes back one sound at a time, and no farther than the first."""
    session = Session().play(ONE).play(TWO)
    assert session.undo().sound == ONE
    assert session.undo().undo() == session.undo()
    assert session.play(TWO) == session


def test_a_control_that_is_dragged_is_undone_at_once():
    """Two controls are undone one after the other."""
    session = Session().play(ONE)
    for position in (0.1, 0.2, 0.3):
        session = session.play(ONE.along("brightness", position))
    assert session.undo().sound == ONE
    session = session.play(session.sound.along("attack", 1.0))
    assert session.undo().sound == ONE.along("brightness", 0.3)


def test_as_many_sounds_are_remembered():
    """The oldest sounds are forgotten when there are too many."""
    session = Session()
    for seed in range(MOST_UNDONE + 5):
        session = session.play(Sound(source=Random(seed=seed)))
    assert len(session.before) == MOST_UNDONE
    assert session.before[0].source.seed == 4


def test_takes_are_named():
    """A take is named by the user or by its origin; a repeated name replaces the take."""
    session = Session().play(ONE).keep("").keep("").keep(" <b>\n ")
    assert [take.name for take in session.takes] == ["Random 1", "Random 1 (2)", "<b>"]
    session = session.play(TWO).keep("<b>")
    assert session.takes[-1] == Take(name="<b>", sound=TWO)
    assert [take.name for take in session.drop("Random 1").takes] == ["Random 1 (2)", "<b>"]


def test_each_page_has_a_desk_of_its_own():
    """Gradio copies the first one; what is kept while a sound is made stays."""
    desk = copy.deepcopy(Desk())
    desk.change(lambda session: session.play(ONE))
    assert desk.change(lambda session: session.keep("a")).takes == (Take(name="a", sound=ONE),)
    assert desk.change(lambda session: session.play(TWO)).takes == desk.session.takes != ()
    assert copy.deepcopy(desk).session == Session()


def test_without_a_sound_there_is_nothing_to_keep():
    """A take without a sound is refused with the whole message."""
    with pytest.raises(InputError) as caught:
        Session().keep("a")
    assert str(caught.value) == "there is no sound yet\nClick a point of the map, or make a random sound."


def test_the_control_that_was_used_last_counts():
    """A sound that is made last does not replace that of a control that was used later."""
    desk = Desk()
    assert desk.change_at(20.5, lambda session: session.play(TWO), dragged="slider")
    assert not desk.change_at(0.25, lambda session: session.play(ONE))
    assert (desk.session.sound, desk.dragged) == (TWO, "slider")
    assert desk.change_at(20.75, lambda session: session.play(ONE))
    assert (desk.session.sound, desk.dragged) == (ONE, None)

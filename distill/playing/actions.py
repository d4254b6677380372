"""Actions of the page's controls: each returns the sound that is played next."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from attrs import evolve

from distill.errors import InputError
from distill.playing.instrument import Instrument
from distill.playing.presets import load_presets
from distill.playing.session import Session
from distill.playing.sound import (
    LONGEST,
    MOST_NESTED,
    SHORTEST,
    Between,
    Near,
    Random,
    Recording,
    Sound,
    Source,
    number,
    seed_like,
)

_SEEDS = 1_000_000
"""Seeds that are drawn are below this, so that they can be read out and typed in."""

OWN, OF_RUN = "own:", "run:"
"""What the keys of recordings begin with: those of the user, by digest, and those of the run, by name."""


def drawn_seed() -> int:
    """Return a random seed that is short enough to be typed in."""
    return secrets.randbelow(_SEEDS)


class Actions:
    """Changes of the current sound of a session, and sounds that replace it."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument

    def random(self, session: Session, seed: object, hold: object) -> Sound:
        """Return the new sound of a seed."""
        with _checked("seed"):
            return _shaped(session, Random(seed=seed_like(seed)), hold)

    def recording(self, session: Session, index: object, hold: object) -> Sound:
        """Return a recording of the map as the model makes it."""
        names = self.instrument.names
        if not isinstance(index, int) or not 0 <= index < len(names):
            raise InputError("there is no such point on the map", culprit="map")
        return _shaped(session, Recording(name=names[index]), hold)

    def vary(self, session: Session, amount: object, seed: int) -> Sound:
        """Return a variation of the current sound, which keeps its length and its shifts along axes."""
        now = session.require()
        if isinstance(now.source, Near) and now.source.nested >= MOST_NESTED:
            remedy = "Go back with Undo, or vary another sound."
            raise InputError(f"this is the {MOST_NESTED}th variation of a variation", remedy=remedy)
        with _checked("amount"):
            return evolve(now, source=Near(origin=now.source, amount=number(amount, 0, 1), seed=seed))

    def morph(self, session: Session, first: object, second: object, position: object, hold: object) -> Sound:
        """Return a sound between two recordings."""
        ends = self.by_key(session, first), self.by_key(session, second)
        with _checked("position"):
            source = Between(first=ends[0], second=ends[1], position=number(position, 0, 1))
        return _shaped(session, source, hold)

    def shift(self, session: Session, axis: str, value: object) -> Sound:
        """Return the current sound with another shift along an axis."""
        with _checked(axis):
            return session.require().along(axis, number(value, -1000, 1000))

    def stretch(self, session: Session, seconds: object) -> Sound:
        """Return the current sound with another length."""
        with _checked("length"):
            return evolve(session.require(), seconds=number(seconds, SHORTEST, LONGEST))

    def reset(self, session: Session) -> Sound:
        """Return the current sound without shifts, in its own length."""
        return evolve(session.require(), seconds=None, axes=())

    def take(self, session: Session, name: object) -> Sound:
        """Return a take."""
        for each in session.takes:
            if each.name == name:
                return each.sound
        raise InputError("there is no such take", culprit=str(name))

    def preset(self, name: object) -> Sound:
        """Return a preset of the run, as it is in the file now."""
        presets = load_presets(self.instrument.run)
        if not isinstance(name, str) or name not in presets:
            raise InputError("there is no such preset any more", culprit=str(name))
        return presets[name]

    def by_key(self, session: Session, key: object) -> Recording:
        """Return the recording of a key, of the run or of the user."""
        text = str(key)
        if text.startswith(OF_RUN) and text.removeprefix(OF_RUN) in self.instrument.names:
            return Recording(name=text.removeprefix(OF_RUN))
        for each in session.own:
            if text == f"{OWN}{each.own}":
                return each
        raise InputError("choose a recording", culprit="morph")


def key_of(recording: Recording) -> str:
    """Return the key of a recording, of the run or of the user."""
    return f"{OWN}{recording.own}" if recording.own else f"{OF_RUN}{recording.name}"


def _shaped(session: Session, source: Source, hold: object) -> Sound:
    """Return the sound of a source, with the length and the shifts of the current one if they are held."""
    if not hold or session.sound is None:
        return Sound(source=source)
    return evolve(session.sound, source=source)


@contextmanager
def _checked(control: str) -> Iterator[None]:
    """Raise an `InputError` that names a control for a value that it cannot have.

    Raises:
        InputError: the value is something else.
    """
    try:
        yield
    except ValueError as error:
        raise InputError(str(error), culprit=control) from error

"""The state of an open page: the current sound, the sounds before it, and the takes."""

import threading
from collections.abc import Callable
from typing import Self

from attrs import evolve, frozen

from distill.errors import InputError, printable
from distill.playing.sound import Recording, Sound

MOST_UNDONE = 200


@frozen(kw_only=True)
class Take:
    """A sound that is kept, and its name."""

    name: str
    sound: Sound


@frozen(kw_only=True)
class Session:
    """The current sound, those before it, oldest first, the takes, and files of one's own.

    A session is a value: it never changes.
    """

    sound: Sound | None = None
    before: tuple[Sound, ...] = ()
    takes: tuple[Take, ...] = ()
    own: tuple[Recording, ...] = ()

    def play(self, sound: Sound) -> Self:
        """Return the session with another current sound.

        Several shifts along one axis, or of the length, are undone at once.
        """
        if self.sound is None or sound == self.sound:
            return evolve(self, sound=sound)
        if self.before and _same_change(self.before[-1], self.sound, sound):
            return evolve(self, sound=sound)
        return evolve(self, sound=sound, before=(*self.before, self.sound)[-MOST_UNDONE:])

    def require(self) -> Sound:
        """Return the current sound.

        Raises:
            InputError: there is none yet.
        """
        if self.sound is None:
            remedy = "Click a point of the map, or make a random sound."
            raise InputError("there is no sound yet", remedy=remedy)
        return self.sound

    def undo(self) -> Self:
        """Return the session with the sound before the current one, if there is one."""
        if not self.before:
            return self
        return evolve(self, sound=self.before[-1], before=self.before[:-1])

    def keep(self, name: str) -> Self:
        """Return the session with the current sound among its takes; a take of that name is replaced.

        Raises:
            InputError: there is no sound yet.
        """
        sound = self.require()
        name = printable(name.strip()) or self._unused(str(sound))
        take = Take(name=name, sound=sound)
        if any(each.name == name for each in self.takes):
            return evolve(self, takes=tuple(take if each.name == name else each for each in self.takes))
        return evolve(self, takes=(*self.takes, take))

    def drop(self, name: str) -> Self:
        """Return the session without a take."""
        return evolve(self, takes=tuple(each for each in self.takes if each.name != name))

    def add(self, recording: Recording) -> Self:
        """Return the session with another file of one's own."""
        return evolve(self, own=(*(each for each in self.own if each.own != recording.own), recording))

    def _unused(self, name: str) -> str:
        taken, number, free = {each.name for each in self.takes}, 1, name
        while free in taken:
            number += 1
            free = f"{name} ({number})"
        return free


class Desk:
    """The session of a page, which controls change one after the other, while sounds are made beside it.

    `dragged` is the control that made the current sound, if it may still be moving.
    """

    def __init__(self) -> None:
        self.session = Session()
        self.dragged: object = None
        self._changing = threading.Lock()
        self._turn = 0.0

    def __deepcopy__(self, _: object) -> "Desk":
        """Return a new session: each page gets a copy of the first."""
        return Desk()

    def change_at(
        self, turn: float, function: Callable[[Session], Session], *, dragged: object = None
    ) -> bool:
        """Change the session, unless a control of a later turn has changed it; return whether it is changed.

        A turn is the time at which a control was used, by the clock of the page. So the last click counts,
        whichever request comes first, and whichever sound is made first.
        """
        with self._changing:
            if turn < self._turn:
                return False
            self._turn, self.session, self.dragged = turn, function(self.session), dragged
            return True

    def change(self, function: Callable[[Session], Session]) -> Session:
        """Change the session, and return it."""
        with self._changing:
            self.session = function(self.session)
            return self.session


def _same_change(before: Sound, now: Sound, then: Sound) -> bool:
    """Return whether `then` differs from `now` only by what `now` differs from `before`: a single control."""
    if not before.source == now.source == then.source:
        return False
    return len(_changed(before, now) | _changed(now, then)) == 1


def _changed(one: Sound, other: Sound) -> set[str]:
    first, second = dict(one.axes), dict(other.axes)
    changed = {name for name in first | second if first.get(name, 0) != second.get(name, 0)}
    return changed | ({"/length"} if one.seconds != other.seconds else set())

"""Answers of listening tests, as the page of a comparison saves them, one JSON file for each listener.

A file may come from anybody: it is read strictly, and nothing of it is more than text and numbers.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen
from attrs import validators as v

from distill.config import structure
from distill.errors import ConfigError, InputError, check_all, printable
from distill.storage.files import read_bounded

FORMAT = 1
ORIGINAL, LOW_ANCHOR, MID_ANCHOR = "original", "anchor-3.5", "anchor-7"
"""The systems of a test besides the runs: the original, and its low-pass anchors at 3.5 and 7 kHz."""

_LARGEST = 2**20
_MOST_TRIALS = 1000
_LONGEST_NAME = 4096
"""Letters of a name: those of runs and recordings are paths."""

_REMEDY = "Pass files as the page of a comparison saves them."

_name: Any = v.and_(v.min_len(1), v.max_len(_LONGEST_NAME))


@frozen(kw_only=True)
class System:
    """A run in a test: its name there, and the SHA-256 of its model."""

    name: str = field(validator=_name)
    model: str = field(validator=v.matches_re("[0-9a-f]{64}"))


@frozen(kw_only=True)
class AbxTrial:
    """A trial: X was the system `x`, which is `a` or `b`, and the listener took it for `answer`."""

    recording: str = field(validator=v.max_len(_LONGEST_NAME))
    a: str = field(validator=_name)
    b: str = field(validator=_name)
    x: str = field(validator=_name)
    answer: str = field(validator=_name)


@frozen(kw_only=True)
class MushraTrial:
    """The scores of all systems, 0..100, for one recording."""

    recording: str = field(validator=v.max_len(_LONGEST_NAME))
    scores: dict[str, int]


@frozen(kw_only=True)
class Answers:
    """The answers of a listener in one session, which is named by a random number.

    `planned` is the number of trials that was set before the test began, `seed` that of their order.
    """

    format: Literal[1]
    test: Literal["abx", "mushra"]
    session: str = field(validator=v.matches_re("[0-9a-f]{32}"))
    listener: str = field(validator=_name)
    seed: int = field(validator=[v.ge(0), v.lt(2**32)])
    planned: int = field(validator=[v.ge(1), v.le(_MOST_TRIALS)])
    systems: dict[str, System] = field(validator=v.max_len(100))
    abx: tuple[AbxTrial, ...] = ()
    mushra: tuple[MushraTrial, ...] = ()

    @property
    def trials(self) -> int:
        """The number of trials that were answered."""
        return len(self.abx) + len(self.mushra)


def read_answers(files: Iterable[Path]) -> tuple[Answers, ...]:
    """Read the answers of several sessions.

    Raises:
        InputError: a file cannot be read, is not one of answers, is not complete, or is of a session that is
            there already.
    """
    sessions: dict[str, Answers] = {}

    def add(file: Path) -> None:
        answers = _read(file)
        if answers.session in sessions:
            raise _mistake(file, "holds the answers of a session that another file holds, too")
        sessions[answers.session] = answers

    check_all(add, files)
    return tuple(sessions.values())


def _read(file: Path) -> Answers:
    try:
        content = read_bounded(file, _LARGEST)
    except FileNotFoundError as error:
        raise _mistake(file, "there is no such file") from error
    except OSError as error:
        raise _mistake(file, f"cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise _mistake(file, f"{error}") from error
    try:
        data: Any = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise _mistake(file, "is not JSON, or is cut short") from error
    if not isinstance(data, Mapping):
        raise _mistake(file, "holds no answers of a listening test")
    try:
        answers = structure(data, Answers)
    except ConfigError as error:
        more = f" (and {len(error.problems) - 1} more)" if len(error.problems) > 1 else ""
        raise _mistake(file, f"{error.problems[0]}{more}") from error
    for problem in _problems(answers):
        raise _mistake(file, problem)
    return answers


def _problems(answers: Answers) -> Iterable[str]:
    """Yield what is wrong with answers that have the right form."""
    if answers.trials != answers.planned:
        yield (
            f"has {answers.trials} of {answers.planned} trials; a test that ends early, when the result is "
            "liked, proves nothing"
        )
    if answers.test == ("mushra" if answers.abx else "abx") or (answers.abx and answers.mushra):
        yield f"has trials of another test than {answers.test}"
    yield from _problems_of_systems(answers.systems)
    known = {*answers.systems, ORIGINAL, LOW_ANCHOR, MID_ANCHOR}
    for trial in answers.abx:
        if not {trial.a, trial.b} <= known or trial.a == trial.b:
            yield f"compares {printable(trial.a)!r} with {printable(trial.b)!r}, which are not two systems"
        elif not {trial.x, trial.answer} <= {trial.a, trial.b}:
            yield "has a trial whose X or answer is neither A nor B"
    for rated in answers.mushra:
        if not {ORIGINAL, *answers.systems} <= {*rated.scores} <= known:
            yield "has a trial in which a system is not rated, or an unknown one is"
        elif not all(0 <= score <= 100 for score in rated.scores.values()):
            yield "has a score that is not from 0 to 100"


def _problems_of_systems(systems: Mapping[str, System]) -> Iterable[str]:
    if taken := {*systems} & {ORIGINAL, LOW_ANCHOR, MID_ANCHOR}:
        yield f"has a run in the place of the {min(taken)}"
    if len({system.model for system in systems.values()}) < len(systems):
        yield "compares a model with itself"


def _mistake(file: Path, problem: str) -> InputError:
    return InputError(problem, culprit=str(file), remedy=_REMEDY)

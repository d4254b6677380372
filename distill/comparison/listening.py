"""Results of listening tests: ABX by exact binomial tests, MUSHRA by means and intervals."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen

from distill.comparison.answers import LOW_ANCHOR, MID_ANCHOR, ORIGINAL, Answers
from distill.comparison.binomial import chance_of, clopper_pearson
from distill.comparison.statistics import Interval, bootstrap, mean_interval
from distill.errors import InputError, printable

NAMES = {ORIGINAL: "original", LOW_ANCHOR: "anchor, 3.5 kHz", MID_ANCHOR: "anchor, 7 kHz"}
_REFERENCE_AT_LEAST, _ANCHOR_AT_MOST, _MOST_MISSED = 90, 90, 0.15
"""The limits of ITU-R BS.1534-3, 4.1.2."""


@frozen(kw_only=True)
class Abx:
    """The number of trials in which X was recognized, by one or all listeners, for a pair of systems.

    `chance` is the probability of as many right answers or more by guessing. `low` and `high` are the
    interval (95 %, Clopper-Pearson) of the share of right answers.
    """

    pair: tuple[str, str]
    listener: str
    right: int
    trials: int
    chance: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "pair": list(self.pair), "listener": self.listener or None, "right": self.right,
            "trials": self.trials, "p": self.chance, "share": self.right / self.trials, "low": self.low,
            "high": self.high,
        }  # fmt: skip


@frozen(kw_only=True)
class Rated:
    """The mean score of a system with its interval (95 %, Student's t) over `count` ratings.

    `difference` is that of a run from the first run: paired, by bootstrap over listeners and recordings.
    """

    system: str
    score: Interval
    count: int
    difference: Interval | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        score = self.score.to_dict()
        del score["certain"]
        return {
            "system": self.system, "ratings": self.count, **score,
            "difference": self.difference and self.difference.to_dict(),
        }  # fmt: skip


@frozen(kw_only=True)
class Listening:
    """The results of listening tests.

    `excluded` names the listeners whose ratings do not count, each with the reason.
    """

    abx: tuple[Abx, ...] = ()
    mushra: tuple[Rated, ...] = ()
    listeners: int = 0
    excluded: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "abx": [each.to_dict() for each in self.abx],
            "mushra": {
                "systems": [each.to_dict() for each in self.mushra],
                "listeners": self.listeners,
                "excluded": [{"listener": name, "reason": reason} for name, reason in self.excluded],
            },
        }


def results_of(answers: Sequence[Answers], models: Mapping[str, str]) -> Listening:
    """Return the results of answers. `models` has the name of each run by the SHA-256 of its model.

    Raises:
        InputError: the answers are of other runs.
    """
    names = [_names(each, models) for each in answers]
    rated, excluded, listeners = _mushra(answers, names, [*models.values()])
    return Listening(abx=_abx(answers, names), mushra=rated, listeners=listeners, excluded=excluded)


def _names(answers: Answers, models: Mapping[str, str]) -> dict[str, str]:
    """Return the names of systems by their keys in a file of answers."""
    for system in answers.systems.values():
        if system.model not in models:
            raise InputError(
                f"the answers of {printable(answers.listener)} are of a run that is not compared, "
                f"{printable(system.name)}, or of an earlier model of it",
                culprit="answers",
                remedy="Pass the runs that the page was made of.",
            )
    return NAMES | {key: models[system.model] for key, system in answers.systems.items()}


def _abx(answers: Sequence[Answers], names: Sequence[Mapping[str, str]]) -> tuple[Abx, ...]:
    counts: dict[tuple[str, str], dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for each, named in zip(answers, names, strict=True):
        for trial in each.abx:
            one, other = sorted((named[trial.a], named[trial.b]))
            counts[one, other][each.listener].append(trial.answer == trial.x)
    results = []
    for pair, by_listener in counts.items():
        everything = [right for rights in by_listener.values() for right in rights]
        results.append(_abx_of(pair, "", everything))
        if len(by_listener) > 1:
            results += [_abx_of(pair, listener, rights) for listener, rights in by_listener.items()]
    return tuple(results)


def _abx_of(pair: tuple[str, str], listener: str, rights: Sequence[bool]) -> Abx:
    right, trials = sum(rights), len(rights)
    low, high = clopper_pearson(right, trials)
    return Abx(
        pair=pair, listener=listener, right=right, trials=trials, chance=chance_of(right, trials), low=low,
        high=high,
    )  # fmt: skip


def _mushra(
    answers: Sequence[Answers], names: Sequence[Mapping[str, str]], runs: Sequence[str]
) -> tuple[tuple[Rated, ...], tuple[tuple[str, str], ...], int]:
    """Return the ratings of each system, the excluded listeners, and the number of the others."""
    scores: dict[str, list[tuple[str, dict[str, int]]]] = defaultdict(list)
    for each, named in zip(answers, names, strict=True):
        for trial in each.mushra:
            rated = {named[key]: score for key, score in trial.scores.items()}
            scores[each.listener].append((trial.recording, rated))
    reasons = {name: _reason([rated for _, rated in trials]) for name, trials in scores.items()}
    kept = {name: trials for name, trials in scores.items() if not reasons[name]}
    excluded = tuple((name, reason) for name, reason in reasons.items() if reason)
    found = {system for trials in kept.values() for _, rated in trials for system in rated}
    order = [NAMES[ORIGINAL], *runs, NAMES[MID_ANCHOR], NAMES[LOW_ANCHOR]]
    systems = [system for system in order if system in found]
    return tuple(_rated(system, kept, runs[0]) for system in systems), excluded, len(kept)


def _reason(trials: Sequence[Mapping[str, int]]) -> str:
    """Return why a listener's ratings do not count, or nothing (ITU-R BS.1534-3, 4.1.2)."""
    low = sum(rated[NAMES[ORIGINAL]] < _REFERENCE_AT_LEAST for rated in trials)
    if low > _MOST_MISSED * len(trials):
        return f"rated the hidden reference below {_REFERENCE_AT_LEAST} in {low} of {len(trials)} trials"
    high = sum(rated.get(NAMES[MID_ANCHOR], 0) > _ANCHOR_AT_MOST for rated in trials)
    if high > _MOST_MISSED * len(trials):
        return f"rated the anchor of 7 kHz above {_ANCHOR_AT_MOST} in {high} of {len(trials)} trials"
    return ""


def _rated(system: str, kept: Mapping[str, Iterable[tuple[str, Mapping[str, int]]]], first: str) -> Rated:
    ratings = [rated[system] for trials in kept.values() for _, rated in trials if system in rated]
    difference = None
    if system not in {*NAMES.values(), first}:
        table = _differences(system, kept, first)
        difference = bootstrap(table) if len(table) else None
    return Rated(system=system, score=mean_interval(ratings), count=len(ratings), difference=difference)


def _differences(
    system: str, kept: Mapping[str, Iterable[tuple[str, Mapping[str, int]]]], first: str
) -> np.ndarray:
    """Return the mean differences from the first run by listener and recording, NaN where there is none."""
    found: dict[tuple[str, str], list[int]] = defaultdict(list)
    for listener, trials in kept.items():
        for recording, rated in trials:
            if system in rated and first in rated:
                found[listener, recording].append(rated[system] - rated[first])
    listeners, recordings = ([*dict.fromkeys(key[axis] for key in found)] for axis in (0, 1))
    return np.array(
        [
            [np.mean(found[one, other]) if (one, other) in found else math.nan for other in recordings]
            for one in listeners
        ]
    )

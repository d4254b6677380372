"""The facts of a comparison of runs: recipes, records, and measures on recordings that they share."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from attrs import evolve, field, frozen

from distill.audio.corpus import NamedArray
from distill.audio.corpus.membership import Membership
from distill.audio.progress import Progress
from distill.comparison.measures import FileMeasures, Measures, heldout_measures
from distill.comparison.recipes import Difference, recipe_differences
from distill.comparison.selection import distinct_runs, short_names
from distill.comparison.table import Row, table_of
from distill.config.words import are, counted
from distill.errors import CorpusError, DistillError, InputError, RunError
from distill.reporting.history import History
from distill.storage.ending import Ending, State, ending_of, state_in_words
from distill.storage.run import Run
from distill.system.utf8 import as_text

StrPath: TypeAlias = str | os.PathLike[str]

_MOST = 10
"""How many recordings without measures are named for each run."""

_ON = "--on FOLDER."

OnProgress: TypeAlias = Callable[[str, Progress], None]
"""Called with the name of a run and the progress of its measurement."""


@frozen(kw_only=True)
class Compared:
    """A run in a comparison.

    `name` is the last part of its path, with as many parts before it as tell it from the others. `measures`
    is None if there are none, for the reason `problem`, and `remedy` says what to do.
    """

    run: Run
    name: str
    ending: Ending
    history: History
    tree: Mapping[str, Any]
    measures: Measures | None = None
    problem: str = ""
    remedy: str = ""

    @property
    def state(self) -> State:
        """The state of the run."""
        return self.ending.state

    @property
    def state_in_words(self) -> str:
        """The state of the run and, if its model has not all of the training, how much."""
        return state_in_words(self.ending.state, self.ending.kept)

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of its loss terms, as the recipe and the records have them."""
        loss = self.tree.get("loss")
        names = [*(loss if isinstance(loss, Mapping) else ()), *self.history.weights]
        return tuple(dict.fromkeys(map(str, names)))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "name": self.name,
            "folder": str(self.run.folder),
            "state": self.state,
            "kept": self.ending.kept,
            "steps": self.history.step,
            "seconds": self.history.seconds,
            "terms": list(self.terms),
            "problem": self.problem,
        }


@frozen(kw_only=True)
class Shared:
    """A recording on which runs are compared.

    `trained_on` has the names of the runs that were trained on it, `unknown` of those that do not say.
    """

    name: str
    key: str
    trained_on: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    used: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "name": self.name,
            "trained_on": list(self.trained_on),
            "unknown": list(self.unknown),
            "used": self.used,
        }


@frozen(kw_only=True)
class Gathered:
    """The facts of a comparison.

    Attributes:
        runs: the runs; differences are from the first one.
        differences: what differs between their recipes.
        recordings: those that all measured runs share; only those `used` are in the table.
        rows: the table of measures.
        source: which recordings these are, in words.
        notes: what is not as it should be, a sentence each.
    """

    runs: tuple[Compared, ...]
    differences: tuple[Difference, ...]
    recordings: tuple[Shared, ...] = ()
    rows: tuple[Row, ...] = ()
    source: str = ""
    notes: tuple[str, ...] = field(factory=tuple)


def gather(
    runs: Iterable[Run | StrPath],
    *,
    on: StrPath | Iterable[NamedArray] | None = None,
    trained: bool = False,
    on_progress: OnProgress | None = None,
) -> Gathered:
    """Gather the facts of a comparison; see `distill.compare`.

    Raises:
        InputError: there are fewer than two runs, or one is given twice.
        RunError: a folder is not a run, or its records cannot be read.
        ConfigError: a recipe is not TOML.
        CorpusError: the recordings `on` do not exist.
    """
    folders = distinct_runs(runs)
    if on is not None and not isinstance(on, str | os.PathLike):
        on = list(on)
    read = [
        Compared(run=run, name=name, ending=ending_of(run), tree=run.read_recipe(), history=History.read(run))
        for run, name in zip(folders, short_names(folders), strict=True)
    ]
    compared = tuple(_measured(each, on, on_progress) for each in read)
    recordings, source, notes = _shared(compared, on, trained=trained)
    used = [each.key for each in recordings if each.used]
    rows = table_of([_metrics(each, used) for each in compared]) if used else ()
    damaged = [
        f"{each.name}: {counted(lines, 'line')} of metrics.jsonl that {are(lines)} no record {are(lines)} "
        "left out of the curves. Restore the file from a copy, if there is one."
        for each in compared
        if (lines := len(each.history.damaged))
    ]
    damaged += [
        f"{each.name}: outcome.json is damaged; the run is taken for {each.state}, as its other files say."
        for each in compared
        if each.ending.damaged
    ]
    return Gathered(
        runs=compared,
        differences=recipe_differences([each.tree for each in compared]),
        recordings=recordings,
        rows=rows,
        source=source,
        notes=(*notes, *damaged, *missing_measures(compared, {*used})),
    )


def _measured(
    compared: Compared, on: StrPath | Iterable[NamedArray] | None, on_progress: OnProgress | None
) -> Compared:
    tell = None if on_progress is None else (lambda progress: on_progress(compared.name, progress))
    problem = remedy = ""
    measures = None
    try:
        measures = heldout_measures(compared.run, on, on_progress=tell)
    except (CorpusError, InputError) as error:
        if on is not None:  # the recordings are the user's mistake, and the same for all runs
            raise
        problem = f"{error.culprit}: {error.problem}" if error.culprit else error.problem
        remedy = f"Put its recordings back, or compare on other ones: {_ON}"
    except DistillError as error:
        problem = error.problem
        remedy = " ".join(error.remedy.split("\n")).replace("distill evaluate RUN CORPUS", _ON)
    return evolve(compared, measures=measures, problem=problem, remedy=remedy)


def _shared(
    runs: Sequence[Compared], on: StrPath | Iterable[NamedArray] | None, *, trained: bool
) -> tuple[tuple[Shared, ...], str, list[str]]:
    """Return the recordings that measured runs share, what they are in words, and notes."""
    measured = {each.name: _by_key(each.measures) for each in runs if each.measures is not None}
    splits = {each.name: _split(each) for each in runs if each.measures is None}
    notes = [
        f"{each.name} is not measured: {each.problem}. {each.remedy}".rstrip()
        for each in runs
        if each.problem
    ]
    if len(measured) < 2:
        notes.append(
            "There is nothing to compare by: fewer than two runs are measured. Choose another run that is."
        )
        return (), "", notes
    first = next(iter(measured.values()))
    keys = [key for key in first if all(key in each for each in measured.values())]
    if on is None and not keys:
        notes.append(
            "The runs held out no recording in common. Compare them on recordings that none was trained on: "
            f"{_ON}"
        )
        return (), "", notes
    recordings = tuple(_recording(key, measured, splits, runs, trained=trained or on is None) for key in keys)
    used = sum(each.used for each in recordings)
    if on is None:
        others = {name: len(each) - len(keys) for name, each in measured.items() if len(each) > len(keys)}
        source = f"{counted(used, 'recording')} that {'both' if len(measured) == 2 else 'all'} runs held out"
        notes += [
            f"{name} held out {counted(count, 'recording')} that not all others did; {_they(count)} left out."
            for name, count in others.items()
        ]
        if others:
            notes.append(f"To compare on more recordings, use some that no run was trained on: {_ON}")
    else:
        place = on if isinstance(on, str | os.PathLike) else "arrays"
        source = f"{counted(used, 'recording')} of {as_text(place)}"
        notes += _notes_on_training(recordings)
        notes += next(each.measures.skipped_in_words for each in runs if each.measures is not None)
    notes += [
        f"{each.name} held out {counted(gone, 'recording')} that {are(gone)} not in its corpus any more. "
        f"Put {_them(gone)} back to compare on {_them(gone)}, too."
        for each in runs
        if each.measures is not None and (gone := each.measures.absent)
    ]
    rates = {each.measures.sample_rate for each in runs if each.measures is not None}
    if len(rates) > 1:
        told = ", ".join(f"{rate} Hz" for rate in sorted(rates))
        notes.append(
            f"The models have different sample rates ({told}); each is measured at its own, so that what is "
            f"above {min(rates) // 2} Hz counts for some of them only. Compare them by ear on the page, too."
        )
    return recordings, source, notes


def _notes_on_training(recordings: Sequence[Shared]) -> list[str]:
    notes = []
    left_out = sum(bool(each.trained_on) and not each.used for each in recordings)
    if left_out:
        notes.append(
            f"{counted(left_out, 'recording')} that a run was trained on {are(left_out)} left out of the "
            "table; --trained takes them in."
        )
    taken = sum(bool(each.trained_on) and each.used for each in recordings)
    if taken:
        notes.append(
            f"A run was trained on {counted(taken, 'recording')} of the table, which favours it. Without "
            f"--trained, {_they(taken)} left out."
        )
    unknown = sum(bool(each.unknown) and each.used for each in recordings)
    if unknown:
        told = counted(unknown, "recording")
        notes.append(
            f"It is not known of {told} whether a run was trained on {_them(unknown)}, which would favour "
            f"it. Compare on recordings that are new to all runs: {_ON}"
        )
    return notes


def _recording(
    key: str,
    measured: Mapping[str, Mapping[str, FileMeasures]],
    splits: Mapping[str, Membership | None],
    runs: Sequence[Compared],
    *,
    trained: bool,
) -> Shared:
    """Return a shared recording. It is used unless a run, measured or not, was trained on it."""
    known = {name: each[key].trained_on for name, each in measured.items()}
    known |= {name: split.trained_on(key) if split else None for name, split in splits.items()}
    by = tuple(each.name for each in runs if known[each.name])
    return Shared(
        name=next(iter(measured.values()))[key].name,
        key=key,
        trained_on=by,
        unknown=tuple(each.name for each in runs if known[each.name] is None),
        used=trained or not by,
    )


def _split(compared: Compared) -> Membership | None:
    """Return the recordings of a run that is not measured, None if that is not known."""
    try:
        return Membership.read(compared.run.split)
    except RunError:
        return None


def _by_key(measures: Measures) -> dict[str, FileMeasures]:
    return {each.key: each for each in measures.files}


def _metrics(compared: Compared, keys: Sequence[str]) -> dict[str, Any] | None:
    if compared.measures is None:
        return None
    by_key = _by_key(compared.measures)
    return {key: by_key[key].metrics for key in keys}


def missing_measures(runs: Sequence[Compared], used: set[str]) -> list[str]:
    """Return a note for each recording without measures, of some for each run."""
    notes = []
    for each in runs:
        files = () if each.measures is None else each.measures.files
        without = [file for file in files if file.key in used and file.metrics is None]
        notes += [f"{each.name} has no measures of {file.name}: {file.left_out}." for file in without[:_MOST]]
        if len(without) > _MOST:
            more = counted(len(without) - _MOST, "more recording")
            notes.append(f"{each.name} has no measures of {more}; {each.run.measures} has all of them.")
    return notes


def _they(number: int) -> str:
    return "it is" if number == 1 else "they are"


def _them(number: int) -> str:
    return "it" if number == 1 else "them"

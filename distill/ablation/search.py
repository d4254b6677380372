"""`distill.search_weights`: a search of weights and other options by Optuna."""

import json
import math
import os
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from attrs import frozen

from distill.ablation.ablate import MOST_JOBS, base_of, existing, folder_for, require_no_seed, train_pending
from distill.ablation.choices import Choices, Range, choices_of
from distill.ablation.cluster import ClusterSettings
from distill.ablation.measures import MEASURES, measure_named
from distill.ablation.place import LARGEST, Place, ablation_lock, changed, require_ours
from distill.ablation.plan import Base, Trial, parse_seeds, require_installed, trial_of
from distill.ablation.progress import Status
from distill.ablation.studies import Space, Study, Tried, Whole, ranked, require_optuna
from distill.arguments import optional_callable, require_corpus, whole_number
from distill.config import unstructure
from distill.config.words import show
from distill.errors import ConfigError, DistillError, RunError, printable
from distill.plugin.registry import Registry
from distill.recipe import Recipe, Terms
from distill.storage.files import read_bounded, write_atomically, write_text
from distill.training.interruption import Signals

StrPath: TypeAlias = str | os.PathLike[str]

_MOST_TRIALS = 100_000
_SHOWN = 10
_WIDTH = 79


@frozen(kw_only=True)
class Search:
    """The result of a search. `str()` returns it as text.

    Attributes:
        folder: the folder with all runs.
        measure: the name of the measure that was improved.
        tried: all trials, in the order in which they were made. Their values are means over seeds.
        failed: the messages of the runs that have failed, by name.
        recipe: the file with the recipe of the best trial, None if no trial has a value.
    """

    folder: Path
    measure: str
    tried: tuple[Tried, ...]
    failed: Mapping[str, str]
    recipe: Path | None

    @property
    def ranking(self) -> tuple[Tried, ...]:
        """The trials that have a value, the best first."""
        return tuple(ranked(self.tried, MEASURES[self.measure].better))

    def __str__(self) -> str:
        measure, ranking = MEASURES[self.measure], self.ranking
        if not ranking:
            return "No trial has a value."
        lines = [f"{'trial':>5}  {measure.head:>10}  options, {measure.better} is better"]
        for each in ranking[:_SHOWN]:
            options = ", ".join(
                f"{address}={f'{value:.4g}' if isinstance(value, float) else show(value)}"
                for address, value in each.options.items()
            )
            lines += textwrap.wrap(
                f"{each.number:5}  {each.value:10.4f}  {printable(options)}",
                _WIDTH,
                subsequent_indent=" " * 19,
            )
        if len(ranking) > _SHOWN:
            lines.append(f"and {len(ranking) - _SHOWN} more, in {self.folder / 'ablation.json'}")
        note = (
            f"The best of {len(ranking)} looks better than it is, since it was chosen by this number: "
            "measure it on recordings that the search has not seen."
        )
        return "\n".join([*lines, textwrap.fill(note, _WIDTH)])

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as in `ablation.json`."""
        return {
            "measure": self.measure,
            "better": MEASURES[self.measure].better,
            "trials": [
                {
                    "number": each.number,
                    "state": each.state,
                    "value": each.value,
                    "options": dict(each.options),
                }
                for each in self.tried
            ],
            "failed": dict(self.failed),
        }


def search_weights(
    corpus: StrPath | None = None,
    *,
    ranges: Mapping[str, tuple[float, float]],
    trials: int,
    measure: str = "mel",
    loss: Terms | None = None,
    grid: Mapping[str, Sequence[Any]] | None = None,
    seeds: int | Iterable[int] | str = 3,
    recipe: Recipe | Mapping[str, Any] | StrPath | None = None,
    options: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
    balance: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    device: str | None = None,
    on: StrPath | None = None,
    out: StrPath | None = None,
    jobs: int = 1,
    cluster: str | None = None,
    slurm: Mapping[str, Any] | None = None,
    on_progress: Callable[[Status], None] | None = None,
    registry: Registry | None = None,
) -> Search:
    """Search weights, or other options, that improve a measure of the held-out recordings.

        found = distill.search_weights(
            "my-sounds", loss="stft,recon", ranges={"loss.stft.weight": (0.1, 10)}, trials=20, steps=500
        )
        print(found)

    Optuna proposes the values (extra `distill[search]`): by its tree-structured Parzen estimator, with fixed
    seeds, so that the same search makes the same trials. A trial is trained with each seed, and its value is
    the mean. As many trials are proposed together as fit into `jobs`. If the process is stopped or killed,
    the same call goes on; more trials may be asked for. A trial that fails is not tried again.

    Args:
        ranges: lowest and highest value by the address of an option. Values are drawn by their logarithm if
            both are positive. Whole numbers are drawn for an option that takes only these.
        trials: the number of trials in all.
        measure: the measure to improve: `"zimtohrli"`, `"tones"`, `"texture"`, `"level"`, `"mel"`, `"lsd"` or
            `"mr_stft"`.
        grid: several values by the address of an option, of which each trial has one.
        corpus: as in `ablate`, like all of the following.
        loss: the terms.
        seeds: the seeds.
        recipe: the recipe to start from.
        options: fixed options.
        balance: the balancer.
        minutes: the duration of each run.
        steps: the number of steps of each run.
        device: the device.
        on: recordings to measure.
        out: the folder.
        jobs: the number of runs side by side.
        cluster: `"slurm"` or `"local"`.
        slurm: parameters of the jobs.
        on_progress: called when a run begins or ends, and now and then between.
        registry: where to look up terms.

    Raises:
        InputError: there is no such measure, Optuna is not installed, or an argument is of another type.
        RunError: `out` holds something else or another search.
        DistillError: as in `ablate`.
    """
    tell = optional_callable(on_progress, culprit="on_progress") or (lambda _: None)
    trials = whole_number(trials, culprit="trials", least=1, below=_MOST_TRIALS + 1)
    jobs = whole_number(jobs, culprit="jobs", least=1, below=MOST_JOBS + 1)
    settings = ClusterSettings.of(cluster, slurm or {})
    better, chosen = measure_named(measure).better, parse_seeds(seeds)
    require_optuna()
    require_installed(loss)
    base, location = base_of(
        corpus, loss=loss, recipe=recipe, balance=balance, minutes=minutes, steps=steps, device=device,
        registry=registry, options=options,
    )  # fmt: skip
    choices = choices_of((), grid or {}, ranges)
    require_no_seed(choices)
    space = _space(base, choices, chosen[0])
    plain = _at_the_ends(base, choices, chosen[0])
    require_corpus(plain.corpus.path)
    tree = unstructure(plain)
    recordings = None if on is None else existing(on, culprit="on")
    searched = {
        "measure": measure,
        "on": recordings,
        "seeds": list(chosen),
        "space": {address: _told(each) for address, each in space.items()},
        "recipe": tree,
    }
    place = Place(folder_for(out, "search", location, lambda place: _require_fitting(place, searched)))
    with Signals(), ablation_lock(place):
        _require_fitting(place, searched)
        write_atomically(place.search, json.dumps(searched, indent=1).encode())
        study = Study(path=place.study, space=space, better=better, seed=0)
        work = _Work(
            base=base, tree=tree, place=place, corpus=location, seeds=chosen, on=recordings, measure=measure
        )
        at_once = max(1, jobs // len(chosen))
        failed: dict[str, str] = {}
        while batch := _next(study, trials, at_once):
            failed |= work.carry_out(batch, study, jobs, settings, tell)
        return work.result(study.tried(), failed)


@frozen(kw_only=True)
class _Work:
    """The common part of all trials of a search."""

    base: Base
    tree: Mapping[str, Any]
    place: Place
    corpus: str | None
    seeds: tuple[int, ...]
    on: str | None
    measure: str

    def carry_out(
        self,
        batch: Sequence[Tried],
        study: Study,
        jobs: int,
        settings: ClusterSettings | None,
        tell: Callable[[Status], None],
    ) -> Mapping[str, str]:
        """Train and measure trials side by side, and report the results to the study."""
        from distill.ablation.measuring import value_of  # noqa: PLC0415  # torch

        runs = {each.number: self._runs(each) for each in batch}
        names = [run.name for several in runs.values() for run in several]
        self.place.write_plan(self.corpus, {run.name: run.recipe for each in runs.values() for run in each})
        failed = dict(train_pending(self.place, names, self.on, jobs, settings, tell))
        for number, several in runs.items():
            values = []
            for run in several:
                if run.name not in failed:
                    try:
                        values.append(value_of(self.place, run.name, self.on, self.measure))
                    except DistillError as error:
                        failed[run.name] = str(error)
            mean = math.fsum(values) / len(self.seeds) if len(values) == len(self.seeds) else math.nan
            study.tell(number, mean if math.isfinite(mean) else None)
        return failed

    def _runs(self, tried: Tried) -> tuple[Trial, ...]:
        recipe = self._recipe(tried)
        return tuple(trial_of(f"trial{tried.number:03}", seed, unstructure(recipe)) for seed in self.seeds)

    def _recipe(self, tried: Tried) -> Recipe:
        return self.base.draft(tuple(tried.options.items()), self.seeds[0]).recipe

    def result(self, tried: Sequence[Tried], failed: Mapping[str, str]) -> Search:
        """Return the result, and write it and the best recipe to the folder."""
        best = next(iter(ranked(tried, MEASURES[self.measure].better)), None)
        if best is not None:
            write_text(self.place.best, self._recipe(best).to_toml())
        result = Search(
            folder=self.place.folder,
            measure=self.measure,
            tried=tuple(tried),
            failed=failed,
            recipe=self.place.best if best is not None else None,
        )
        write_atomically(self.place.json, json.dumps(result.to_dict(), indent=1).encode())
        return result


def _next(study: Study, trials: int, at_once: int) -> list[Tried]:
    """Return the trials to carry out next: those that were interrupted, then new ones."""
    tried = study.tried()
    batch = [each for each in tried if each.state == "running"]
    while len(batch) < at_once and len(tried) < trials:
        batch.append(study.ask())
        tried.append(batch[-1])
    return batch


def _space(base: Base, choices: Choices, seed: int) -> Space:
    """Return the range or the values of each option.

    Raises:
        ConfigError: there is no range and no option of several values.
    """
    if not choices.ranges and not choices.grid:
        raise ConfigError(
            "no range is given",
            culprit="search",
            remedy="Give one, such as: --set loss.stft.weight=0.1..10",
        )
    space: dict[str, Range | Whole | tuple[Any, ...]] = dict(choices.grid)
    for address, each in choices.ranges:
        space[address] = _whole(base, address, each, seed) or each
    return space


def _whole(base: Base, address: str, each: Range, seed: int) -> Whole | None:
    """Return a range of whole numbers if the option takes only these."""
    if not (each.low.is_integer() and each.high.is_integer()):
        return None
    try:
        base.draft(((address, each.low + 0.5),), seed)
    except ConfigError:
        return Whole(low=int(each.low), high=int(each.high), logarithmic=each.logarithmic)
    return None


def _at_the_ends(base: Base, choices: Choices, seed: int) -> Recipe:
    """Return the recipe without the searched options, after checking the ends of ranges and each value.

    Raises:
        ConfigError: a value is not valid. All problems are listed.
    """
    plain, problems = base.draft((), seed).recipe, list[str]()
    space = _space(base, choices, seed)
    for address, each in space.items():
        values = each if isinstance(each, tuple) else (each.low, each.high)
        for value in values:
            try:
                base.draft(((address, value),), seed)
            except ConfigError as error:
                problems += [problem for problem in error.problems if problem not in problems]
    if problems:
        raise ConfigError(*problems)
    return plain


def _told(each: Range | Whole | tuple[Any, ...]) -> Any:  # noqa: ANN401  # JSON
    return list(each) if isinstance(each, tuple) else [each.low, each.high]


def _require_fitting(place: Place, searched: Mapping[str, Any]) -> None:
    """Check that a folder is new, or holds this search.

    Raises:
        RunError: it holds something else, or another search.
    """
    if not place.search.exists():
        if place.folder.exists():
            require_ours(place, {})
        return
    try:
        before = json.loads(read_bounded(place.search, LARGEST))
    except (OSError, ValueError, RecursionError) as error:
        remedy = "Restore it from a copy, or give another folder with --out."
        raise RunError("is damaged", culprit=str(place.search), remedy=remedy) from error
    lines = changed(before if isinstance(before, dict) else {}, searched)
    if lines:
        raise RunError(
            "\n".join(["holds another search:", *lines]),
            culprit=str(place.folder),
            remedy="Give the same command as before to go on, or another folder with --out. "
            "More trials may be asked for.",
        )

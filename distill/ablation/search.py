"""`distill.search_weights`: a search of weights and other options by Optuna."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from distill.ablation.arguments import Arguments, StrPath
from distill.ablation.continuing import require_same_search
from distill.ablation.execution import Execution
from distill.ablation.folder import AblationFolder
from distill.ablation.measures import MEASURES, measure_named
from distill.ablation.plan import CommonRecipe, PlannedRun, planned_run, require_installed
from distill.ablation.progress import Status
from distill.ablation.search_result import Search
from distill.ablation.spaces import make_space, to_plain
from distill.ablation.studies import Study, Trial, ranked, require_optuna
from distill.arguments import require_corpus, whole_number
from distill.config import unstructure
from distill.errors import ConfigError, DistillError
from distill.plugin.registry import Registry
from distill.recipe import Recipe, Terms
from distill.storage.files import write_atomically, write_text
from distill.training.interruption import Signals

_MOST_TRIALS = 100_000


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
    execution = Execution.of(jobs=jobs, cluster=cluster, slurm=slurm, on_progress=on_progress)
    trials = whole_number(trials, culprit="trials", least=1, below=_MOST_TRIALS + 1)
    arguments = Arguments(
        corpus=corpus, loss=loss, grid=grid, seeds=seeds, recipe=recipe, options=options, balance=balance,
        minutes=minutes, steps=steps, device=device, on=on, out=out, registry=registry,
    )  # fmt: skip
    better, chosen = measure_named(measure).better, arguments.chosen_seeds()
    require_optuna()
    require_installed(loss)
    common = arguments.common_recipe()
    space = make_space(common, arguments.choices(ranges), chosen[0])
    plain = common.draft((), chosen[0]).recipe
    require_corpus(plain.corpus.path)
    recordings = arguments.recordings()
    description = {
        "measure": measure,
        "on": recordings,
        "seeds": list(chosen),
        "space": to_plain(space),
        "recipe": unstructure(plain),
    }
    folder = arguments.folder("search", lambda folder: require_same_search(folder, description))
    with Signals(), folder.locked():
        require_same_search(folder, description)
        write_atomically(folder.search, json.dumps(description, indent=1).encode())
        study = Study(path=folder.study, space=space, better=better, seed=0)
        trainer = _TrialTrainer(
            common=common, folder=folder, corpus=arguments.location(), seeds=chosen, on=recordings,
            measure=measure, execution=execution,
        )  # fmt: skip
        at_once = max(1, execution.jobs // len(chosen))
        failed: dict[str, str] = {}
        while batch := _next(study, trials, at_once):
            failed |= trainer.train(batch, study)
        return trainer.result(study.trials(), failed)


@frozen(kw_only=True)
class _TrialTrainer:
    """Trains and measures the trials of a search."""

    common: CommonRecipe
    folder: AblationFolder
    corpus: str | None
    seeds: tuple[int, ...]
    on: str | None
    measure: str
    execution: Execution

    def train(self, trials: Sequence[Trial], study: Study) -> Mapping[str, str]:
        """Train and measure trials side by side, report the values to the study, and return the failures."""
        runs: dict[int, tuple[PlannedRun, ...]] = {}
        invalid: dict[str, str] = {}
        for trial in trials:
            try:
                runs[trial.number] = self._runs(trial)
            except ConfigError as error:  # values of which each is valid by itself
                invalid[_name(trial)] = str(error)
                study.tell(trial.number, None)
        if not runs:
            return invalid
        recipes = {run.name: run.recipe for of_trial in runs.values() for run in of_trial}
        self.folder.write_plan(self.corpus, recipes)
        failed = invalid | dict(self.execution.train(self.folder, list(recipes), self.on))
        for number, of_trial in runs.items():
            values = self._values(of_trial, failed)
            mean = math.fsum(values) / len(self.seeds) if len(values) == len(self.seeds) else math.nan
            study.tell(number, mean if math.isfinite(mean) else None)
        return failed

    def _values(self, runs: Iterable[PlannedRun], failed: dict[str, str]) -> list[float]:
        """Return the values of runs. Those that cannot be measured are added to `failed`."""
        from distill.ablation.measuring import value_of  # noqa: PLC0415  # torch

        values = []
        for run in runs:
            if run.name not in failed:
                try:
                    values.append(value_of(self.folder, run.name, self.on, self.measure))
                except DistillError as error:
                    failed[run.name] = str(error)
        return values

    def _runs(self, trial: Trial) -> tuple[PlannedRun, ...]:
        tree = unstructure(self._recipe(trial))
        return tuple(planned_run(_name(trial), seed, tree) for seed in self.seeds)

    def _recipe(self, trial: Trial) -> Recipe:
        return self.common.draft(tuple(trial.options.items()), self.seeds[0]).recipe

    def result(self, trials: Sequence[Trial], failed: Mapping[str, str]) -> Search:
        """Return the result, and write it and the best recipe to the folder."""
        best = next(iter(ranked(trials, MEASURES[self.measure].better)), None)
        if best is not None:
            write_text(self.folder.best, self._recipe(best).to_toml())
        result = Search(
            folder=self.folder.path,
            measure=self.measure,
            trials=tuple(trials),
            failed=failed,
            recipe=self.folder.best if best is not None else None,
        )
        write_atomically(self.folder.json, json.dumps(result.to_dict(), indent=1).encode())
        return result


def _name(trial: Trial) -> str:
    return f"trial{trial.number:03}"


def _next(study: Study, number: int, at_once: int) -> list[Trial]:
    """Return the trials to carry out next, of `number` in all: those that were interrupted, then new ones."""
    trials = study.trials()
    batch = [trial for trial in trials if trial.state == "running"]
    while len(batch) < at_once and len(trials) < number:
        batch.append(study.ask())
        trials.append(batch[-1])
    return batch

"""`distill.ablate` and `distill.plan_ablation`, which the command line also calls."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

from attrs import frozen

from distill.ablation.choices import Choices, Options, choices_of
from distill.ablation.cluster import Cluster, ClusterSettings
from distill.ablation.estimating import estimate
from distill.ablation.place import Place, ablation_lock, pending, require_fitting
from distill.ablation.plan import Base, Plan, make_plan, parse_seeds
from distill.ablation.pools import Here, Pool, Processes
from distill.ablation.progress import Status, Watch
from distill.ablation.result import Ablation
from distill.ablation.scheduling import train_all
from distill.arguments import (
    corpus_location,
    optional_callable,
    options_by_address,
    path_like,
    require_corpus,
    whole_number,
)
from distill.errors import ConfigError, InputError, RunError
from distill.plugin.registry import Registry
from distill.recipe import Recipe, Terms
from distill.training.interruption import Signals
from distill.training.shared_arguments import RUNS, drop_length, folder_name, recipe_tree, require_no_url

StrPath: TypeAlias = str | os.PathLike[str]

MOST_JOBS = 1000


def ablate(
    corpus: StrPath | None = None,
    *,
    loss: Terms | None = None,
    each: bool = False,
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
) -> Ablation:
    """Train runs that differ in a term or an option, and return what each difference is worth.

        found = distill.ablate("my-sounds", loss="stft,recon,kl", each=True, seeds=3, steps=500)
        print(found)

    With `each`, the whole list of terms is trained, and the list less each term. The weights of the remaining
    terms stay as they are, and a term that is the only one is not left out. A `grid` trains every combination
    of its values; the first value of each option is the reference. All runs have the same length and
    hold out the same recordings.

    A run that fails does not stop the others. If the process is stopped or killed, the same call goes on:
    finished runs are kept, interrupted ones are resumed, and failed ones are tried again. Seeds and values
    may be added.

    Args:
        corpus: a folder of recordings, a single file, shards or a URL. Default: that of the recipe, or the
            demo corpus.
        loss: the names of installed terms, comma-separated or as a sequence.
        each: leave each term out in turn.
        grid: several values by the address of an option, such as `{"loss.stft.weight": [0.5, 1, 2]}`.
        seeds: the number of seeds, from 0 on, or the seeds.
        recipe: the recipe to start from, as in `distill.train`.
        options: fixed options of all runs, by address.
        balance: the balancer of all runs.
        minutes: the duration of each run. Set either this or `steps`.
        steps: the number of optimizer steps of each run.
        device: as in `distill.train`.
        on: recordings to measure. Default: those that each run holds out.
        out: the folder of the ablation. Default: one in `runs/` named for the corpus.
        jobs: the number of runs side by side. One is trained in this process, several in processes of their
            own, which share the cores.
        cluster: `"slurm"` trains each run as a job of a cluster, `"local"` rehearses that on this machine.
            They need the extra `distill[slurm]`.
        slurm: parameters of the jobs, such as `{"partition": "gpu", "time": 60}`.
        on_progress: called when a run begins or ends, and now and then between.
        registry: where to look up terms and the balancer. Default: all installed ones.

    Raises:
        ConfigError: nothing varies, an option is unknown, or a value is not valid. Nothing is trained then.
        TermError: a term or the balancer is unknown, ambiguous or broken.
        CorpusError: the corpus does not exist.
        RunError: `out` holds something else or another plan, or another process is at it.
        InputError: an argument is of another type, or an extra is not installed.
        KeyboardInterrupt: SIGINT, SIGTERM or SIGHUP was received. What there is of the runs is saved.
    """
    planned = plan_ablation(
        corpus,
        loss=loss,
        each=each,
        grid=grid,
        seeds=seeds,
        recipe=recipe,
        options=options,
        balance=balance,
        minutes=minutes,
        steps=steps,
        device=device,
        on=on,
        out=out,
        registry=registry,
    )
    return carry_out(planned, jobs=jobs, cluster=cluster, slurm=slurm, on_progress=on_progress)


@frozen(kw_only=True)
class Planned:
    """A plan of an ablation whose recipes are all valid. Nothing is written yet.

    `folder` is where its runs will be, `on` the recordings to measure, None for those that a run holds out.
    """

    plan: Plan
    folder: Path
    on: str | None = None

    @property
    def pending(self) -> tuple[str, ...]:
        """The names of the runs that are not trained whole, or not measured."""
        return tuple(pending([trial.name for trial in self.plan.trials], Place(self.folder)))

    def estimate(self, jobs: int = 1) -> str:
        """Return in words how long the training takes that is left, with so many runs at a time."""
        place = Place(self.folder)
        left = sum(place.state(trial.name) != "finished" for trial in self.plan.trials)
        return estimate(self.plan.trials[0].recipe, left, jobs, self.folder)


def plan_ablation(
    corpus: StrPath | None = None,
    *,
    loss: Terms | None = None,
    each: bool = False,
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
    registry: Registry | None = None,
) -> Planned:
    """Return the plan of an ablation, after validating the recipe of every run. Nothing is trained.

    The arguments and errors are those of `ablate`. `planned.plan.trials` are the runs.
    """
    base, location = base_of(
        corpus, loss=loss, recipe=recipe, balance=balance, minutes=minutes, steps=steps, device=device,
        registry=registry, options=options,
    )  # fmt: skip
    choices = choices_of((), grid or {}, {})
    require_no_seed(choices)
    plan = make_plan(base, choices, corpus=location, each=each, seeds=parse_seeds(seeds))
    folder = folder_for(out, "ablation", location, lambda place: require_fitting(place, plan))
    return Planned(plan=plan, folder=folder, on=None if on is None else existing(on, culprit="on"))


def carry_out(
    planned: Planned,
    *,
    jobs: int = 1,
    cluster: str | None = None,
    slurm: Mapping[str, Any] | None = None,
    on_progress: Callable[[Status], None] | None = None,
) -> Ablation:
    """Train and measure the runs of a plan, and return what each difference is worth; see `ablate`."""
    tell = optional_callable(on_progress, culprit="on_progress") or (lambda _: None)
    jobs = whole_number(jobs, culprit="jobs", least=1, below=MOST_JOBS + 1)
    settings = ClusterSettings.of(cluster, slurm or {})
    place = Place(planned.folder)
    with Signals(), ablation_lock(place):
        require_fitting(place, planned.plan)
        place.write_plan(planned.plan.corpus, {trial.name: trial.recipe for trial in planned.plan.trials})
        failed = train_pending(
            place, [trial.name for trial in planned.plan.trials], planned.on, jobs, settings, tell
        )
        from distill.ablation.measuring import measured  # noqa: PLC0415  # torch

        return measured(planned.plan, place, planned.on, failed)


def train_pending(
    place: Place,
    names: Sequence[str],
    on: str | None,
    jobs: int,
    settings: ClusterSettings | None,
    tell: Callable[[Status], None],
) -> Mapping[str, str]:
    """Train and measure those runs that are not, and return the messages of those that have failed."""
    waiting = pending(names, place)
    watch = Watch(place=place, total=len(names), jobs=jobs, done=[n for n in names if n not in waiting])
    pool: Pool
    if settings is not None:
        pool = Cluster(place, on, jobs, settings)
    elif jobs > 1:
        pool = Processes(place, on, min(jobs, max(1, len(waiting))))
    else:
        pool = Here(place, on, lambda: tell(watch.status()))
    return train_all(waiting, pool, watch, tell)


def base_of(
    corpus: StrPath | None,
    *,
    loss: Terms | None,
    recipe: Recipe | Mapping[str, Any] | StrPath | None,
    balance: str | None,
    minutes: float | None,
    steps: int | None,
    device: str | None,
    registry: Registry | None,
    options: Mapping[str, Any] | Iterable[tuple[str, Any]],
) -> tuple[Base, str | None]:
    """Return what all runs have in common, and the location of the corpus if it is given."""
    tree = recipe_tree(recipe)
    location = None
    if corpus is not None:
        if not isinstance(corpus, str | os.PathLike):
            raise InputError(
                f"the corpus of an ablation is a path or a URL: got a {type(corpus).__name__}",
                culprit="corpus",
            )
        location = corpus_location(corpus)
    length: dict[str, Any] = {"training.minutes": minutes, "training.steps": steps}
    given: Options = tuple((name, value) for name, value in length.items() if value is not None)
    if given:
        drop_length(tree)
    common = (
        *((("corpus.path", location),) if location is not None else ()),
        *given,
        *((("training.device", device),) if device is not None else ()),
        *options_by_address(options, culprit="options"),
    )
    require_no_seed(Choices(fixed=common))
    if isinstance(tree.get("corpus"), dict) and all(address != "corpus.path" for address, _ in common):
        require_no_url(tree["corpus"].get("path"), "recipe")
    base = Base(tree=tree, registry=registry or Registry(), loss=loss, balance=balance, common=common)
    return base, location


def require_no_seed(choices: Choices) -> None:
    """Check that no option is the seed.

    Raises:
        ConfigError: one is.
    """
    if any(address == "training.seed" for address, _ in (*choices.fixed, *choices.grid, *choices.ranges)):
        raise ConfigError("training.seed: each run has a seed of its own; give them with --seeds")


def existing(path: StrPath, *, culprit: str) -> str:
    """Return the location of recordings to measure.

    Raises:
        CorpusError: there are none.
    """
    location = corpus_location(path, culprit=culprit)
    require_corpus(location)
    return location


def folder_for(
    out: StrPath | None, kind: str, location: str | None, require: Callable[[Place], None]
) -> Path:
    """Return a folder that `require` accepts: by default the first in `runs/` that is free, or can go on.

    Raises:
        RunError: `out` is not accepted.
    """
    if out is not None:
        folder = path_like(out, culprit="out", expected="a folder")
        require(Place(folder))
        return folder
    name = folder_name(location, f"{kind}-")
    for number in count(1):
        folder = RUNS / (name if number == 1 else f"{name}-{number}")
        if not folder.exists():
            break
        with suppress(RunError, ConfigError):
            require(Place(folder))
            break
    return folder

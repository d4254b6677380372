"""`distill.ablate` and `distill.plan_ablation`, which the command line also calls."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from distill.ablation.arguments import Arguments, StrPath
from distill.ablation.continuing import require_same_plan
from distill.ablation.estimating import estimate
from distill.ablation.execution import Execution
from distill.ablation.folder import AblationFolder
from distill.ablation.plan import Plan, make_plan
from distill.ablation.progress import Status
from distill.ablation.result import Ablation
from distill.plugin.registry import Registry
from distill.recipe import Recipe, Terms
from distill.training.interruption import Signals


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
    execution = Execution.of(jobs=jobs, cluster=cluster, slurm=slurm, on_progress=on_progress)
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
    return carry_out(planned, execution)


@frozen(kw_only=True)
class PlannedAblation:
    """A plan of an ablation whose recipes are all valid. Nothing is written yet.

    `folder` is where its runs will be, `on` the recordings to measure, None for those that a run holds out.
    """

    plan: Plan
    folder: Path
    on: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all runs."""
        return tuple(run.name for run in self.plan.runs)

    @property
    def pending(self) -> tuple[str, ...]:
        """The names of the runs that are not trained to their end, or not measured."""
        return tuple(AblationFolder(self.folder).pending(self.names))

    def estimate(self, jobs: int = 1) -> str:
        """Return in words how long the training takes that is left, with so many runs at a time."""
        folder = AblationFolder(self.folder)
        left = sum(folder.state(name) != "finished" for name in self.names)
        return estimate(self.plan.runs[0].recipe, left, jobs, self.folder)


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
) -> PlannedAblation:
    """Return the plan of an ablation, after validating the recipe of every run. Nothing is trained.

    The arguments and errors are those of `ablate`. `planned.plan.runs` are the runs.
    """
    arguments = Arguments(
        corpus=corpus, loss=loss, grid=grid, seeds=seeds, recipe=recipe, options=options, balance=balance,
        minutes=minutes, steps=steps, device=device, on=on, out=out, registry=registry,
    )  # fmt: skip
    plan = make_plan(
        arguments.common_recipe(),
        arguments.choices({}),
        corpus=arguments.location(),
        each=each,
        seeds=arguments.chosen_seeds(),
    )
    folder = arguments.folder("ablation", lambda folder: require_same_plan(folder, plan))
    return PlannedAblation(plan=plan, folder=folder.path, on=arguments.recordings())


def carry_out(planned: PlannedAblation, execution: Execution) -> Ablation:
    """Train and measure the runs of a plan, and return what each difference is worth; see `ablate`."""
    folder, plan = AblationFolder(planned.folder), planned.plan
    with Signals(), folder.locked():
        require_same_plan(folder, plan)
        folder.write_plan(plan.corpus, {run.name: run.recipe for run in plan.runs})
        failed = execution.train(folder, planned.names, planned.on)
        from distill.ablation.measuring import measured  # noqa: PLC0415  # torch

        return measured(plan, folder, planned.on, failed)

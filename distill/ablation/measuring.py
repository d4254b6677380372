"""The measures of the runs of an ablation, and the recordings that the runs have in common."""

import math
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from distill.ablation.effects import effects
from distill.ablation.folder import AblationFolder
from distill.ablation.measures import MEASURES
from distill.ablation.plan import Plan
from distill.ablation.result import Ablation
from distill.audio.corpus.membership import Membership
from distill.comparison.compare import compare
from distill.comparison.measures import FileMeasures, heldout_measures
from distill.config.words import counted
from distill.errors import DistillError, RunError
from distill.storage.ending import ending_of


def measured(plan: Plan, folder: AblationFolder, on: str | None, failed: Mapping[str, str]) -> Ablation:
    """Return the result of an ablation from its runs, and write it to the folder.

    Runs that have failed, or cannot be measured, are left out.
    """
    values: dict[str, dict[int, Mapping[str, Mapping[str, float]]]] = {v.name: {} for v in plan.variants}
    failed, trained_on, unused = dict(failed), set[str](), dict[str, None]()
    for run in plan.runs:
        if run.name in failed:
            continue
        try:
            found = heldout_measures(folder.run(run.name), on)
        except DistillError as error:
            failed[run.name] = str(error)
            continue
        values[run.variant][run.seed] = {each.key: _values(each) for each in found.files}
        trained_on |= {each.name for each in found.files if each.trained_on}
        unused |= dict.fromkeys(found.skipped_in_words)
    notes = [*unused]
    if trained_on:
        some = (
            "1 of the recordings was" if len(trained_on) == 1 else f"{len(trained_on)} of the recordings were"
        )
        notes.append(f"{some} trained on: measure on others with --on.")
    notes += _splits(plan, folder, failed)
    notes += _parts(plan, folder, failed)
    page = _page(plan, folder, on, failed, notes)
    result = Ablation(
        folder=folder.path,
        plan=plan,
        effects=effects(values, plan.reference.name),
        values=values,
        failed=failed,
        notes=tuple(notes),
        page=page,
    )
    result.write()
    return result


def value_of(folder: AblationFolder, name: str, on: str | None, measure: str) -> float:
    """Return the mean of a measure over the recordings that have it, NaN if none has.

    Raises:
        DistillError: the run cannot be measured.
    """
    found = [MEASURES[measure].value(each.metrics) for each in heldout_measures(folder.run(name), on).files]
    there = [value for value in found if math.isfinite(value)]
    return math.fsum(there) / len(there) if there else math.nan


def _page(
    plan: Plan, folder: AblationFolder, on: str | None, failed: Mapping[str, str], notes: list[str]
) -> Path | None:
    """Write the page that compares the runs of the first seed. What fails is a note: all results are there.

    There is none if `training.page` is off, or if fewer than two runs are left.
    """
    runs = [run for run in plan.runs if run.seed == plan.seeds[0] and run.name not in failed]
    if len(runs) < 2 or not runs[0].recipe["training"].get("page", True):
        return None
    try:
        compare([folder.run(run.name) for run in runs], on=on, out=folder.page, overwrite=True)
    except Exception as error:  # noqa: BLE001  # whatever it is, the measures are complete
        notes.append(f"The page that compares the runs cannot be made: {error}")
        return None
    return folder.page


def _values(each: FileMeasures) -> Mapping[str, float]:
    return {name: measure.value(each.metrics) for name, measure in MEASURES.items()}


def _parts(plan: Plan, folder: AblationFolder, failed: Mapping[str, str]) -> list[str]:
    """Return a note if runs have kept a part of their training without being asked to, or none if not."""
    shares = [
        ending_of(folder.run(run.name)).kept
        for run in plan.runs
        if run.name not in failed and run.recipe["training"].get("keep") is None
    ]
    less = sum(share is not None and share < 1 for share in shares)
    if not less:
        return []
    some = f"{less} of {counted(len(plan.runs), 'run')} {'has' if less == 1 else 'have'}"
    told = f"{some} not kept all of the training, as less of it measured better. That hides what a term does"
    return [f"{told}: compare with --set training.keep=1, in another folder."]


def _splits(plan: Plan, folder: AblationFolder, failed: Mapping[str, str]) -> list[str]:
    """Return a note if runs were not trained on the same recordings, or none if all were."""
    train, heldout = set[frozenset[str]](), dict[int, set[frozenset[str]]]()
    for run in plan.runs:
        if run.name not in failed:
            with suppress(RunError):  # without a split, which is told where it is needed
                split = Membership.read(folder.run(run.name).split)
                train.add(frozenset(member.key for member in split.train))
                held_out = frozenset(member.key for member in split.heldout)
                heldout.setdefault(run.seed, set()).add(held_out)
    seeds = ", ".join(str(seed) for seed, splits in heldout.items() if len(splits) > 1)
    if seeds:
        told = f"between runs of seed {seeds}, which held out different recordings"
    elif len(train) > 1:
        told = "between runs, which were trained on different recordings"
    else:
        return []
    return [f"The corpus has changed {told}: do not trust their differences."]

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
from distill.errors import DistillError, RunError


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
        notes.append(f"{len(trained_on)} of the recordings were trained on: measure on others with --on.")
    notes += _splits(plan, folder, failed)
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


def _splits(plan: Plan, folder: AblationFolder, failed: Mapping[str, str]) -> list[str]:
    """Return a note if runs of a seed were not trained on the same recordings, or none if all were."""
    different = []
    for seed in plan.seeds:
        splits = set()
        for run in plan.runs:
            if run.seed == seed and run.name not in failed:
                with suppress(RunError):  # without a split, which is told where it is needed
                    held_out = Membership.read(folder.run(run.name).split).heldout
                    splits.add(frozenset(member.digest for member in held_out))
        if len(splits) > 1:
            different.append(seed)
    if not different:
        return []
    seeds = ", ".join(map(str, different))
    told = f"The corpus has changed between runs of seed {seeds}, which held out different recordings"
    return [f"{told}: do not trust their differences."]

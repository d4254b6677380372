"""Checks that an ablation or a search can go on in a folder: it began there, as it is now. Loads no torch."""

import json
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from distill.ablation.folder import LARGEST, AblationFolder
from distill.ablation.plan import Plan, PlannedRun
from distill.arguments import is_url
from distill.config import flatten
from distill.config.words import show_briefly
from distill.errors import RunError
from distill.storage.files import read_bounded

_SHOWN = 8
_REMEDY = "Run the same command as before to go on, or choose another folder with --out."

_CORPUS = "corpus.path"

_WRITTEN_BY_TRAINING = "provenance."
"""The section of a recipe that a training run writes itself."""


def require_same_plan(folder: AblationFolder, plan: Plan) -> None:
    """Check that a folder is new or holds a part of this plan, to which runs may be added.

    Raises:
        RunError: the folder holds something else, or a run has another recipe than the plan.
    """
    runs = {run.name: run for run in plan.runs}
    if folder.plan.exists():
        _require_same_recipes(folder, runs, folder.read_plan().runs)
    elif folder.path.exists():
        _require_unused(folder, runs)
    for run in plan.runs:
        _require_recipe(folder, run)


def require_same_search(folder: AblationFolder, search: Mapping[str, Any]) -> None:
    """Check that a folder is new, or holds this search, described as in `search.json`.

    Raises:
        RunError: it holds something else, or another search.
    """
    if not folder.search.exists():
        if folder.path.exists():
            _require_unused(folder, ())
        return
    try:
        before = json.loads(read_bounded(folder.search, LARGEST))
    except (OSError, ValueError, RecursionError) as error:
        remedy = "Restore it from a copy, or choose another folder with --out."
        raise RunError("is damaged", culprit=str(folder.search), remedy=remedy) from error
    lines = changes(before if isinstance(before, dict) else {}, search)
    if lines:
        raise RunError(
            "\n".join(["holds another search:", *lines]),
            culprit=str(folder.path),
            remedy=f"{_REMEDY} More trials may be asked for.",
        )


def changes(before: Mapping[str, Any], now: Mapping[str, Any], *, defaults: bool = False) -> list[str]:
    """Return a line for each option that differs between two recipes as plain data.

    A corpus that has moved is none: when a run goes on, training compares its recordings by their digests.
    `defaults`: options that `now` leaves unset may have any value before, since training sets them.
    """
    old, new = flatten(before), flatten(now)
    lines = []
    for address in sorted({*old, *new}):
        if address.startswith(_WRITTEN_BY_TRAINING) or old.get(address) == new.get(address):
            continue
        if defaults and address not in new:
            continue
        if address == _CORPUS and _moved(old.get(address), new.get(address)):
            continue
        was, is_now = (show_briefly(each[address]) if address in each else "unset" for each in (old, new))
        lines.append(f"{address}: {was}, now {is_now}")
    return lines


def _moved(before: object, now: object) -> bool:
    """Return whether a folder of recordings is no longer where it was, and there is another one instead."""
    paths = [each for each in (before, now) if isinstance(each, str) and not is_url(each)]
    return [Path(each).exists() for each in paths] == [False, True]


def _require_same_recipes(
    folder: AblationFolder, runs: Mapping[str, PlannedRun], stored: Mapping[str, Mapping[str, Any]]
) -> None:
    removed = [f"{name}: is no longer in the plan" for name in stored if name not in runs]
    found = {name: changes(stored[name], run.recipe) for name, run in runs.items() if name in stored}
    of_all = [line for line in next(iter(found.values()), []) if all(line in each for each in found.values())]
    of_some = [f"{name}: {line}" for name, lines in found.items() for line in lines if line not in of_all]
    lines = [*removed, *of_all, *of_some]
    if lines:
        more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        raise RunError(
            "\n".join(["holds an ablation with another plan:", *lines[:_SHOWN], *more]),
            culprit=str(folder.path),
            remedy=f"{_REMEDY} Seeds and values can be added.",
        )


def _require_unused(folder: AblationFolder, runs: Container[str]) -> None:
    """Check that a folder holds nothing but some of the named runs.

    Raises:
        RunError: it holds something else, or is a file.
    """
    if not folder.path.is_dir():
        raise RunError("is a file", culprit=str(folder.path), remedy="Pass a folder with --out.")
    if any(
        path.name not in runs and not path.name.startswith(".")  # a lock, decoded recordings
        for path in folder.path.iterdir()
    ):
        raise RunError(
            "is not empty, and holds no ablation",
            culprit=str(folder.path),
            remedy="Choose a new folder with --out.",
        )


def _require_recipe(folder: AblationFolder, planned: PlannedRun) -> None:
    """Check that a run that is there has the recipe of the plan, except for options that it leaves unset."""
    run = folder.run(planned.name)
    if not run.recipe.exists():
        return
    found = changes(run.read_recipe(), planned.recipe, defaults=True)
    if found:
        raise RunError(
            "\n".join(["is a run with another recipe:", *found[:_SHOWN]]),
            culprit=str(run.folder),
            remedy=_REMEDY,
        )

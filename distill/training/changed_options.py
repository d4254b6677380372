"""Options that may change when a run is resumed, and those that have changed. Imports no torch."""

from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from distill.config import unstructure
from distill.errors import ConfigError
from distill.recipe import Draft, Recipe, differences
from distill.storage.run import Run

_TRAINING = (
    *("steps", "minutes", "device", "keep", "learning_rate", "page", "nonfinite", "max_skipped"),
    *("checkpoints", "checkpoint_minutes", "gradient_every", "cuda_graphs"),
)
_NEVER = ("model.", "representation.", "training.start")
ACCEPT = "add --accept-changes (accept_changes=True in Python)"


def require_same_options(draft: Draft, recorded: Recipe, run: Run, *, accept: bool) -> None:
    """Check that a resumed run keeps its recipe, apart from options that may change.

    The place of the corpus may change: its recordings are compared by their digests.

    Args:
        draft: the recipe of the resumed run.
        recorded: the recipe in the run folder.
        run: the run.
        accept: accept other options, except those of the model, the representation and the start.

    Raises:
        ConfigError: another option differs.
    """
    changed = _refused(draft, differences(draft.recipe, recorded), accept=accept)
    if changed:
        raise ConfigError(
            f"a resumed run keeps its recipe, and this differs: {', '.join(changed)}",
            culprit=str(run.folder),
            remedy="Leave it out, or start a new run. "
            f"The weights may change, and of training the {', '.join(_TRAINING)}.",
        )


def require_recorded_options(draft: Draft, state: Mapping[str, Any], run: Run, *, accept: bool) -> None:
    """Check that a resumed run has the recipe that its checkpoint was trained with.

    Raises:
        ConfigError: recipe.toml was changed by hand.
    """
    recorded = state.get("made_with", {}).get("recipe")
    if recorded is None:  # a checkpoint of Distill 0.2.0
        return
    changed = _refused(draft, _differences(options_of(draft.recipe), recorded), accept=accept)
    if changed:
        remedy = "Restore the file as the training wrote it, or start a new run."
        if not any(path.startswith(_NEVER) for path in changed):
            remedy += f" To go on with these options, {ACCEPT}."
        raise ConfigError(
            f"is not the recipe that the run was trained with, and this differs: {', '.join(changed)}",
            culprit=str(run.recipe),
            remedy=remedy,
        )


def options_of(recipe: Recipe) -> dict[str, Any]:
    """Return the options of a recipe by their address for a checkpoint; those that are not set are None."""
    options = _by_address(recipe, unstructure(recipe), "")
    return {path: value for path, value in options.items() if not path.startswith("provenance.")}


def _by_address(value: object, plain: Any, path: str) -> dict[str, Any]:  # noqa: ANN401  # any TOML
    """Return the options in an attrs instance or a table. `plain` is its data, which omits unset options."""
    if attrs.has(type(value)):
        fields = attrs.fields_dict(type(value))  # type: ignore[arg-type]  # an attrs class
        items = {name: getattr(value, name) for name in fields}
    elif isinstance(value, Mapping):
        items = dict(value)
    else:
        return {path: plain}
    below = {name: (plain or {}).get(name) for name in items}
    return {
        address: option
        for name, item in items.items()
        for address, option in _by_address(item, below[name], f"{path}.{name}" if path else name).items()
    }


def _differences(options: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[str]:
    """Return the addresses of options that differ, without those that only one version of Distill has."""
    tables = [{address.rpartition(".")[0] for address in each} for each in (options, recorded)]
    return sorted(
        address
        for address in {*options, *recorded}
        if (address in options and address in recorded and options[address] != recorded[address])
        or (
            (address in options) != (address in recorded)
            and address.rpartition(".")[0] not in tables[0] & tables[1]
        )
    )


def _refused(draft: Draft, changed: Iterable[str], *, accept: bool) -> list[str]:
    may_change = {"corpus.path", *(f"training.{name}" for name in _TRAINING)}
    may_change |= {f"loss.{term.name}.{term.spec.config.weight_option}" for term in draft.terms}
    return [path for path in changed if path not in may_change and (not accept or path.startswith(_NEVER))]

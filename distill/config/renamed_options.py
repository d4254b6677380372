"""Options of older versions, which are read at their current addresses. Loads no torch."""

from collections.abc import Container, Mapping
from copy import deepcopy
from typing import Any

from distill.config.toml import no_tables
from distill.errors import ConfigError

_RENAMED = {
    "training.kl_warmup_fraction": ("loss.kl.warmup_fraction", "removed in 0.4.0"),
    "training.kl_weight_max": ("loss.kl.weight_max", "removed in 0.4.0"),
    "training.free_bits": ("loss.kl.free_bits", "removed in 0.4.0"),
    "training.reconciliations": ("training.griffin_lim_iterations", "removed in 0.5.0"),
}
"""The addresses of deprecated options, their current ones, and when they are removed."""


def current_address(address: str, chosen: Container[str], warnings: list[str]) -> str:
    """Return the current address of an option, with a warning if `address` is deprecated."""
    current, removal = _RENAMED.get(address, (address, ""))
    if current == address or not _has(current, chosen):
        return address
    warnings.append(f"{address} is deprecated and will be {removal}; it is now {current}")
    return current


def _has(address: str, chosen: Container[str]) -> bool:
    section, name, *_ = address.split(".")
    return section != "loss" or name in chosen


def move_renamed(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain data of a recipe with the options of older versions at their current addresses.

    Raises:
        ConfigError: One is also set at its current address, or belongs to a term without options.
    """
    tables = deepcopy(dict(tree))
    problems = no_tables(tables, ("loss",))
    if not problems:
        tables["loss"] = dict(tables.get("loss", {}))
        move_options(tables, tables["loss"], problems)
    if problems:
        raise ConfigError(*problems)
    return tables


def move_options(tree: dict[str, Any], chosen: Container[str], problems: list[str]) -> list[str]:
    """Move options of older versions to their current addresses, and return the warnings."""
    training, warnings = tree.get("training"), list[str]()
    for address, (current, _) in _RENAMED.items():
        old = address.removeprefix("training.")
        if not isinstance(training, dict) or old not in training:
            continue
        value = training.pop(old)
        if not _has(current, chosen):
            problems.append(f"{address}: is now {current}, and the term 'kl' is not chosen")
            continue
        *sections, new = current.split(".")
        table = tree
        for section in sections:
            table = table.setdefault(section, {}) if isinstance(table, dict) else table
        if isinstance(table, dict) and new in table:
            problems.append(f"{address}: is set as {current} too; keep the latter")
        elif isinstance(table, dict):  # otherwise reported with the other problems
            table[new] = value
            current_address(address, chosen, warnings)
    return warnings

"""`distill losses check`: run the checks of `distill.testing` on an installed loss term."""

import shutil
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from distill.cli import completion
from distill.cli.losses.printing import print_json, record
from distill.cli.options import json_option, no_plugins_option

if TYPE_CHECKING:
    from distill.plugin.registered import Term
    from distill.testing import Outcome

_COLOURS = {"passed": "green", "failed": "red", "waived": "yellow", "not applicable": None}


@click.command(short_help="Check that a loss term behaves as it must.")
@click.argument("name", shell_complete=completion.terms)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="ADDRESS=VALUE",
    shell_complete=completion.addresses,
    help="Set an option of NAME.",
)
@json_option
@no_plugins_option
def check(name: str, *, assignments: tuple[str, ...], as_json: bool) -> None:
    """Check the loss term NAME: its return value, its gradient, its behaviour on silence, and so on.

    The exit status is 1 if a check fails. `distill losses show NAME` lists the addresses of options.
    """
    from distill.plugin.registry import Registry  # slow, and not needed for `distill --help`
    from distill.testing import run_checks  # as above

    (term,) = Registry().choose([name])
    outcomes = run_checks(term, **_options(term, assignments))
    if as_json:
        checks = [{"check": each.check, "status": each.status, "detail": each.detail} for each in outcomes]
        print_json(record(term) | {"checks": checks})
    else:
        _print_table(outcomes)
    failed = [outcome.check for outcome in outcomes if outcome.status == "failed"]
    if failed:
        raise click.ClickException(
            f"{term}: {len(failed)} of {len(outcomes)} checks failed: {', '.join(failed)}"
        )


def _options(term: "Term", assignments: Iterable[str]) -> dict[str, Any]:
    """Return the options of the term from assignments to addresses `loss.NAME.OPTION` or `NAME.OPTION`."""
    from distill.config import assign, parse_assignments
    from distill.errors import ConfigError, check_all

    options: dict[str, Any] = {}
    tables = [f"{section}{name}." for section in ("loss.", "") for name in term.names]

    def set_option(assignment: tuple[str, Any]) -> None:
        address, value = assignment
        table = next((table for table in tables if address.startswith(table)), None)
        if table is None:
            raise ConfigError(
                f"'{address}' is no option of '{term.name}'; expected an address below {tables[0][:-1]}",
                culprit="--set",
                remedy=f"'distill losses show {term.name}' lists them.",
            )
        assign(options, address.removeprefix(table), value)

    check_all(set_option, parse_assignments(assignments))
    return options


def _print_table(outcomes: Sequence["Outcome"]) -> None:
    names = max(len(outcome.check) for outcome in outcomes) + 2
    statuses = max(len(status) for status in _COLOURS) + 2
    width = max(min(shutil.get_terminal_size().columns, 110) - names - statuses, 30)
    for outcome in outcomes:
        first, *rest = textwrap.wrap(outcome.detail, width, break_long_words=False) or [""]
        gap = " " * (statuses - len(outcome.status)) if first else ""
        status = click.style(outcome.status, fg=_COLOURS[outcome.status])
        click.echo(f"{outcome.check.ljust(names)}{status}{gap}{first}")
        for line in rest:
            click.echo(f"{'':{names + statuses}}{line}")
    counts = Counter[str](outcome.status for outcome in outcomes)
    listed = ", ".join(f"{counts[status]} {status}" for status in _COLOURS if counts[status])
    click.echo(f"\n{len(outcomes)} checks: {listed}")

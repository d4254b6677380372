"""The command line. Heavy imports are inside the functions, so that `--help` does not import torch."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import click

import distill
from distill.cli.ablate import ablate
from distill.cli.compare import compare
from distill.cli.evaluate import evaluate
from distill.cli.generate import generate
from distill.cli.losses import losses
from distill.cli.options import no_plugins_option
from distill.cli.play import play
from distill.cli.recipe import recipe
from distill.cli.reconstruct import reconstruct
from distill.cli.report import report
from distill.cli.runs import runs
from distill.cli.shard import shard
from distill.cli.stdout import ignore_no_columns, write_any_name
from distill.cli.streams import checked_output
from distill.cli.train import train
from distill.errors import DistillError
from distill.system.stopping import INTERRUPTED, Stopping


class _Mistake(click.ClickException):
    def __init__(self, error: DistillError) -> None:
        super().__init__(str(error))
        self.exit_code = error.exit_status  # type: ignore[misc]  # click's own way to set it


@contextmanager
def _stoppable() -> Iterator[None]:
    """End a command that is stopped by a signal with one line and the exit status 130."""
    with Stopping() as stopping:
        try:
            yield
            if stopping.deferred:
                raise KeyboardInterrupt  # noqa: TRY301  # as the import would have
        except SystemExit:
            raise
        except BaseException as error:
            # After a signal, whatever ends the command is its consequence: a prompt has an error of its own.
            if stopping.received is None and not isinstance(error, KeyboardInterrupt):
                raise
            with suppress(OSError):  # of a terminal that is gone
                click.echo(stopping.line, err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None


class _Group(click.Group):
    """A group that prints a `DistillError` as a message, and ends by signals. Faults keep their traceback."""

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # as click has it
        write_any_name()
        ignore_no_columns()
        with checked_output():
            return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:  # noqa: ANN401  # as click has it
        with _stoppable():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401  # as click has it
        from distill.storage.files import naming_refusals
        from distill.storage.memory import naming_shortage

        try:
            with _stoppable(), naming_refusals(), naming_shortage():
                return super().invoke(ctx)
        except DistillError as error:
            raise _Mistake(error) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(distill.__version__, prog_name="distill")
@no_plugins_option
def main() -> None:
    """Train audio VAEs on your own recordings, with a loss composed of plugins."""


for command in (
    train, ablate, report, runs, play, reconstruct, generate, evaluate, compare, losses, recipe, shard,
):  # fmt: skip
    main.add_command(command)

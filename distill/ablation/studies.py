"""A study of Optuna: the values to try next, and the results. Loads no torch."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from attrs import define, frozen

from distill.ablation.choices import Range
from distill.ablation.spaces import Space, WholeNumbers
from distill.errors import InputError, RunError
from distill.storage.files import naming, read_bounded, write_whole

_NAME = "distill"
_LARGEST = 2**28


@frozen(kw_only=True)
class Trial:
    """A trial of a search: the options by address, and its value, None as long as it has none.

    `state` is `"running"` for a trial that has no value yet, also if the search was killed meanwhile.
    """

    number: int
    options: Mapping[str, Any]
    state: Literal["running", "done", "failed"]
    value: float | None = None


@define
class Study:
    """A study with its storage in a file, from which it goes on after a kill."""

    path: Path
    space: Space
    better: Literal["higher", "lower"]
    seed: int

    def trials(self) -> list[Trial]:
        """Return all trials in the order of their numbers.

        Raises:
            RunError: the file is damaged, or its trials are of other options.
        """
        states = {"COMPLETE": "done", "FAIL": "failed", "RUNNING": "running"}
        with self._reading():
            return [
                Trial(
                    number=trial.number,
                    options=self._options(trial.params),
                    state=states.get(trial.state.name, "failed"),  # type: ignore[arg-type]  # of the three
                    value=trial.value if trial.state.name == "COMPLETE" else None,
                )
                for trial in self._open().trials
            ]

    def ask(self) -> Trial:
        """Begin a trial. Its values depend on the seed, its number, and the trials before it only."""
        optuna = require_optuna()
        study = self._open()
        study.sampler = optuna.samplers.TPESampler(seed=self.seed + len(study.trials))
        trial = study.ask()
        for address, each in self.space.items():
            if isinstance(each, Range):
                trial.suggest_float(address, each.low, each.high, log=each.logarithmic)
            elif isinstance(each, WholeNumbers):
                trial.suggest_int(address, each.low, each.high, log=each.logarithmic)
            else:  # by position, since Optuna keeps only simple values
                trial.suggest_categorical(address, range(len(each)))
        return Trial(number=trial.number, options=self._options(trial.params), state="running")

    def tell(self, number: int, value: float | None) -> None:
        """Record the value of a trial, or that it failed."""
        optuna = require_optuna()
        state = optuna.trial.TrialState.FAIL if value is None else None
        self._open().tell(number, value, state=state)

    def _options(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        options = {}
        for address, value in parameters.items():
            each = self.space[address]
            options[address] = each[value] if isinstance(each, tuple) else value
        return options

    def _open(self) -> Any:  # noqa: ANN401  # Optuna is an extra
        optuna = require_optuna()
        self._drop_cut_line()
        backend = optuna.storages.journal.JournalFileBackend(str(self.path))
        with self._reading():
            return optuna.create_study(
                storage=optuna.storages.JournalStorage(backend),
                study_name=_NAME,
                direction="maximize" if self.better == "higher" else "minimize",
                load_if_exists=True,
            )

    def _drop_cut_line(self) -> None:
        """Drop a last line without a line break, which a kill or a full disk has cut short.

        Optuna would go on within it, and not read the file again.
        """
        try:
            content = read_bounded(self.path, _LARGEST)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._damaged(f"cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise self._damaged(f"cannot be read: {error}") from error
        if content and not content.endswith(b"\n"):
            with naming(self.path):
                write_whole(self.path, content[: content.rfind(b"\n") + 1])

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Raise a `RunError` for what Optuna raises on a file that it has not written."""
        try:
            yield
        except (AssertionError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            raise self._damaged("is damaged") from error

    def _damaged(self, problem: str) -> RunError:
        remedy = "Restore it from a copy, or choose another folder with --out."
        return RunError(problem, culprit=str(self.path), remedy=remedy)


def require_optuna() -> Any:  # noqa: ANN401  # the module
    """Return Optuna, without its log.

    Raises:
        InputError: it is not installed.
    """
    try:
        import optuna  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise InputError(
            "a search needs Optuna, which is not installed",
            culprit="search",
            remedy='Install it: pip install "distill[search]"',
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def ranked(trials: Sequence[Trial], better: str) -> list[Trial]:
    """Return the trials that have a value, the best first."""
    there = [(each.value, each) for each in trials if each.value is not None]
    return [each for _, each in sorted(there, key=lambda pair: -pair[0] if better == "higher" else pair[0])]

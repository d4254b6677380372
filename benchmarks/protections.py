"""Each protection is switched off by one patch, and a test has to fail then.

Run: python benchmarks/protections.py [--only NAME], on Linux, with the extra `test`. Each protection is tried
in a forked process: its test has to pass first, and to fail, or to end the process, when it is switched off.
"""

import argparse
import os
import pickle
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest
import torch
from attrs import frozen

from distill.errors import printable

ROOT = Path(__file__).parents[1]


@frozen
class Protection:
    """A protection: the object that is replaced, what replaces it, and a test that must fail then."""

    name: str
    target: str
    instead: Any
    test: str

    def switch_off(self) -> None:
        """Replace it for the rest of the process."""
        patch(self.target, self.instead).start()


def nothing(*_: Any, **__: Any) -> None:  # noqa: ANN401  # in the place of any function
    """Do nothing."""


@contextmanager
def in_place(path: Path) -> Iterator[Any]:
    """Write a file where it is, neither beside it nor flushed."""
    with path.open("w+b") as file:
        yield file


@contextmanager
def unlocked(*_: Any, **__: Any) -> Iterator[Any]:  # noqa: ANN401  # as above
    """Lock nothing."""
    yield SimpleNamespace(warning=None, is_ours=lambda: True, require=nothing)


def as_it_is(value: Any, *_: Any, **__: Any) -> Any:  # noqa: ANN401  # as above
    """Return the first argument."""
    return value


def unpickled(path: Path, **_: Any) -> Any:  # noqa: ANN401  # as above
    """Load a file as `torch.load` did for years."""
    return pickle.loads(path.read_bytes())  # noqa: S301  # what must not be done


def always(value: Any) -> Callable[..., Any]:  # noqa: ANN401  # as above
    """Return a function that returns a value."""
    return lambda *_, **__: value


STORAGE, CORPUS, TRAINING = "tests/storage/test_", "tests/audio/corpus/test_", "tests/training/test_"
CHECKPOINTS = f"{STORAGE}checkpoints.py::test_"

PROTECTIONS = (
    Protection(
        "checksum of state files",
        "distill.storage.checkpoints.is_whole",
        always(True),  # the value
        f"{CHECKPOINTS}one_changed_bit_is_found",
    ),
    Protection(
        "no unpickling",
        "distill.storage.checkpoints.load_state",
        unpickled,
        f"{CHECKPOINTS}a_pickle_is_never_run",
    ),
    Protection(
        "largest structure of a state",
        "distill.storage.checkpoints._MOST_STRUCTURE",
        2**60,
        f"{CHECKPOINTS}a_structure_without_end_is_not_parsed",
    ),
    Protection(
        "writing beside the place, and renaming",
        "distill.storage.files.replacing",
        in_place,
        f"{CHECKPOINTS}an_interrupted_write_leaves_the_old_file_and_nothing_else",
    ),
    Protection(
        "flushing of the folder after the renaming",
        "distill.storage.files._sync_folder",
        nothing,
        f"{STORAGE}files.py::test_the_content_is_synced_under_a_hidden_name_and_renamed",
    ),
    Protection(
        "no link is appended to",
        "os.O_NOFOLLOW",
        0,
        f"{STORAGE}files.py::test_a_link_is_not_appended_to",
    ),
    Protection(
        "no file is written over",
        "distill.storage.files.require_writable",
        nothing,
        f"{STORAGE}files.py::test_existing_files_are_refused",
    ),
    Protection(
        "lock of a run folder",
        "distill.storage.reserving.locked",
        unlocked,
        f"{STORAGE}reserving.py::test_a_folder_is_reserved_until_the_run_has_ended",
    ),
    Protection(
        "notice of a lock that was taken over",
        "distill.storage.locking.Held.is_ours",
        always(True),  # the value
        f"{STORAGE}locking.py::test_signs_of_life_are_shown_until_another_has_taken_over",
    ),
    Protection(
        "refusal of links out of a run folder",
        "distill.storage.run.Run.require_no_links_out",
        nothing,
        f"{STORAGE}reserving.py::test_a_link_out_of_the_folder_is_refused",
    ),
    Protection(
        "removal of unfinished files",
        "distill.storage.run.Run.sweep",
        nothing,
        f"{STORAGE}reserving.py::test_what_killed_processes_left_is_swept",
    ),
    Protection(
        "refusal of pipes and huge files in a run folder",
        "distill.storage.run._require_ordinary",
        nothing,
        f"{STORAGE}run.py::test_a_pipe_in_a_run_is_not_waited_for",
    ),
    Protection(
        "bounds of numbers",
        "attr._config._run_validators",
        False,  # the value
        "tests/test_settings.py::test_a_representation_of_endless_size_is_refused",
    ),
    Protection(
        "memory that a batch needs",
        "distill.model.memory.Sizes.require_training",
        nothing,
        "tests/model/test_memory.py::test_a_batch_that_no_machine_holds",
    ),
    Protection(
        "options in the model's file",
        "distill.model.loading._require_options",
        nothing,
        "tests/model/test_loading.py::test_a_recipe_that_describes_another_model_is_said",
    ),
    Protection(
        "shapes and values of latents",
        "distill.model.loading._checked",
        as_it_is,
        "tests/model/test_loading.py::test_latents_of_something_else",
    ),
    Protection(
        "finite results at the end",
        "distill.model.loading.require_finite",
        nothing,
        f"{TRAINING}finishing.py::test_results_that_are_not_finite_are_not_saved",
    ),
    Protection(
        "digest of split.json",
        "distill.audio.corpus.membership.Membership.digest",
        "",
        f"{CORPUS}membership.py::test_a_record_that_was_changed",
    ),
    Protection(
        "names of shards",
        "distill.audio.corpus.shards._NAME",
        re.compile(".*"),
        f"{CORPUS}shards.py::test_a_damaged_list_of_shards",
    ),
    Protection(
        "fields of a cache's list",
        "distill.audio.corpus.cache._lies_in",
        always(True),  # the value
        f"{CORPUS}cache.py::test_a_manifest_of_other_fields_decodes_anew",
    ),
    Protection(
        "recordings that are cut short or joined",
        "distill.audio.corpus.decoding.completeness",
        always(SimpleNamespace(problem="", note="")),
        f"{CORPUS}completeness.py::test_reasons",
    ),
    Protection(
        "impossible levels",
        "distill.audio.corpus.levels.Level.require_possible",
        nothing,
        f"{CORPUS}levels.py::test_impossible_levels",
    ),
    Protection(
        "tools that hang",
        "distill.audio.corpus.fetching._Timed._in_time",
        lambda _, call: call(),
        f"{CORPUS}fetching.py::test_a_tool_is_not_waited_for",
    ),
    Protection(
        "URLs that only a recipe names",
        "distill.training.train.require_no_url",
        nothing,
        "tests/cli/test_fetching.py::test_a_run_does_not_decide_what_is_fetched",
    ),
    Protection(
        "steps that are not finite",
        "distill.training.trainer.is_finite",
        always(torch.ones((), dtype=torch.bool)),
        "tests/training/trainer/test_nonfinite.py::test_a_step_is_skipped",
    ),
    Protection(
        "weights that are not finite",
        "distill.training.trainer.require_finite_weights",
        nothing,
        "tests/training/trainer/test_nonfinite.py::test_weights_that_are_not_finite_are_not_saved",
    ),
    Protection(
        "names that control a terminal",
        "distill.errors.printable",
        str,
        "tests/test_errors.py::test_what_controls_a_terminal_is_replaced",
    ),
    Protection(
        "standard output on a full disk",
        "distill.cli.checked_output",
        nullcontext,
        "tests/cli/test_streams.py::test_other_commands_say_that_output_cannot_be_written",
    ),
    Protection(
        "end by a signal",
        "distill.cli._stoppable",
        nullcontext,
        "tests/test_stopping.py::test_a_command_that_is_stopped_says_so",
    ),
    Protection(
        "process that a plugin changes",
        "distill.plugin.foreign.ForeignCode.__exit__",
        nothing,
        "tests/plugin/test_foreign.py::test_what_a_plugin_changes_is_restored",
    ),
)
"""What the tests of each file may not pass without."""


def outcome(test: str, prepare: Callable[[], object] = nothing) -> str:
    """Run a test in a forked process; return "passed", "failed", or what else became of it."""
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        status = 99
        try:
            quiet = os.open(os.devnull, os.O_RDWR)
            for number in (0, 1, 2):
                os.dup2(quiet, number)
            prepare()
            # Distill is imported already, in the parent.
            quietly = [
                "-q",
                "-x",
                "-p",
                "no:cacheprovider",
                "-W",
                "ignore::pytest.PytestAssertRewriteWarning",
            ]
            status = int(pytest.main([*quietly, str(ROOT / test)]))
        finally:
            os._exit(status)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {0: "passed", 1: "failed"}.get(code, f"ended with {code}")


def main() -> None:
    """Print a table of what was switched off, and what became of the test."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    os.chdir(ROOT)
    wrong = 0
    print("| switched off | test | with it | without it |\n|---|---|---|---|")
    for each in PROTECTIONS:
        if options.only not in each.name:
            continue
        before, after = outcome(each.test), outcome(each.test, each.switch_off)
        wrong += before != "passed" or after == "passed"
        short = each.test.removeprefix("tests/").partition("[")[0]
        print(f"| {each.name} | `{printable(short)}` | {before} | {after} |", flush=True)
    print(f"\n{wrong} are not noticed." if wrong else "\nEach is noticed.")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

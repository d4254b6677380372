"""Protections of commands, pages and plugins."""

import json
import re
from contextlib import nullcontext

from replacing import Protection, always, nothing, unescaped

PAGE, SERVER = "tests/reporting/test_page.py::test_", "tests/playing/test_server.py::test_"

PROTECTIONS = (
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
        "tests/system/test_stopping.py::test_a_command_that_is_stopped_says_so",
    ),
    Protection(
        "process that a plugin changes",
        "distill.plugin.foreign.ForeignCode.__exit__",
        nothing,
        "tests/plugin/test_foreign.py::test_what_a_plugin_changes_is_restored",
    ),
    Protection(
        "process that a term changes in a step",
        "distill.plugin.foreign.undisturbed",
        nullcontext,
        "tests/loss/test_composer_faults.py::test_what_a_term_changes_of_the_process_disturbs_no_other",
    ),
    Protection(
        "no file is written over: reconstruct",
        "distill.storage.files.require_writable",
        nothing,
        "tests/cli/test_reconstruct.py::test_existing_files_are_not_written_over",
    ),
    Protection(
        "no file is written over: generate",
        "distill.storage.files.require_writable",
        nothing,
        "tests/cli/test_generate.py::test_existing_sounds_are_not_written_over",
    ),
    Protection(
        "no file is written over: compare",
        "distill.storage.files.require_writable",
        nothing,
        "tests/cli/test_compare.py::test_a_page_is_not_replaced_unasked",
    ),
    Protection(
        "no file is written over: evaluate",
        "distill.storage.files.require_writable",
        nothing,
        "tests/cli/test_evaluate.py::test_what_cannot_be_shown_or_written_is_said_first",
    ),
    Protection(
        "no source is written over",
        "pathlib.Path.samefile",
        always(False),  # the value
        "tests/cli/test_reconstruct.py::test_a_hard_link_to_the_source_is_not_written_over",
    ),
    Protection(
        "signals while modules are imported",
        "distill.system.stopping.end_at_once",
        None,
        "tests/system/test_stopping.py::test_a_signal_while_modules_are_imported_ends_with_one_line",
        code="lambda: None",
    ),
    Protection(
        "imports that a signal does not break off",
        "distill.system.stopping._imports",
        None,
        "tests/system/test_stopping.py::test_an_import_is_not_broken_off",
        code="lambda frame: False",
    ),
    Protection(
        "waits for other processes",
        "distill.system.stopping.bounded_wait",
        None,
        "tests/system/test_stopping.py::test_a_wait_for_other_processes_is_not_endless",
        code="__import__('contextlib').nullcontext",
    ),
    Protection(
        "commands that do not end after a signal",
        "distill.system.stopping.Stopping._give_up",
        None,
        "tests/system/test_stopping.py::test_a_command_that_does_not_end_is_ended",
        code="lambda self: None",
    ),
    Protection(
        "paths where Python reads ASCII",
        "distill.system.utf8.read_paths_as_utf8",
        None,
        "tests/system/test_utf8.py::test_paths_of_any_script_in_the_c_locale",
        code="lambda: None",
    ),
    Protection(
        "texts in pages are escaped",
        "distill.reporting.document.environment",
        unescaped,
        f"{PAGE}nothing_of_a_run_is_more_than_text",
    ),
    Protection(
        "data in pages are escaped",
        "distill.reporting.document.as_json",
        json.dumps,
        f"{PAGE}nothing_of_a_run_is_more_than_text",
    ),
    Protection(
        "policy of pages",
        "distill.reporting.document.policy_of",
        always("default-src *"),
        f"{PAGE}the_page_asks_nothing_of_a_network",
    ),
    Protection(
        "letters that would spoil a page",
        "distill.reporting.document._SPOILING",
        re.compile(r"(?!)"),
        f"{PAGE}letters_that_would_spoil_a_page_are_replaced",
    ),
    Protection(
        "files that the page of play may read",
        "distill.playing.guard.Guard._may_read",
        always(True),  # the value
        f"{SERVER}no_other_file_and_no_other_route",
    ),
    Protection(
        "requests of other sites",
        "distill.playing.guard.Guard._refusal",
        always((0, "")),
        f"{SERVER}other_sites_are_refused",
    ),
    Protection(
        "links in the place of presets",
        "pathlib.Path.is_symlink",
        always(False),  # the value
        "tests/playing/test_presets.py::test_a_link_is_not_followed",
    ),
    Protection(
        "options that are set twice",
        "distill.config.given.Given.is_same",
        always(True),  # the value
        "tests/test_recipe_assignments.py::test_a_table_and_an_address_in_it_are_one_option",
    ),
    Protection(
        "streams whose buffer a plugin takes",
        "distill.cli.streams.Output.detach",
        lambda output: output.stream.detach(),
        "tests/cli/test_streams.py::test_a_stream_whose_buffer_a_plugin_takes_stays_open",
    ),
    Protection(
        "streams that a plugin closes",
        "distill.cli.streams.Output.close",
        lambda output: output.stream.close(),
        "tests/cli/test_streams.py::test_a_stream_that_a_plugin_closes_stays_open",
    ),
)

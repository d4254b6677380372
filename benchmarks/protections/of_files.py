"""Protections of state files, run folders and locks."""

from replacing import (
    Protection,
    always,
    as_the_second,
    in_place,
    nothing,
    the_newest_alone,
    unlocked,
    unpickled,
)

STORAGE = "tests/storage/test_"
CHECKPOINTS = f"{STORAGE}checkpoints.py::test_"
DAMAGED = f"{STORAGE}damaged_states.py::test_"

PROTECTIONS = (
    Protection(
        "checksum of state files",
        "distill.storage.checkpoints.is_whole",
        always(True),  # the value
        f"{DAMAGED}one_changed_bit_is_found",
    ),
    Protection(
        "no unpickling",
        "distill.storage.checkpoints.load_state",
        unpickled,
        f"{DAMAGED}a_pickle_is_never_run",
    ),
    Protection(
        "largest structure of a state",
        "distill.storage.checkpoints._MOST_STRUCTURE",
        2**60,
        f"{DAMAGED}a_structure_without_end_is_not_parsed",
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
        "waiting for the name in a lock",
        "distill.storage.locking._with_name",
        as_the_second,
        f"{STORAGE}locking.py::test_the_lock_of_a_process_that_was_killed_in_taking_it",
    ),
    Protection(
        "killed processes that still exist",
        "distill.storage.lock_holder.has_ended",
        always(False),  # the value
        f"{STORAGE}locking.py::test_the_lock_of_a_killed_process_is_taken_over",
    ),
    Protection(
        "one process at a time takes a lock over",
        "distill.storage.locking._gate",
        unlocked,
        f"{STORAGE}locking.py::test_one_of_several_takes_over",
    ),
    Protection(
        "no record after a lock was taken over",
        "distill.storage.locking.Held.require",
        nothing,
        "tests/training/test_train.py::test_a_run_that_another_process_took_over_is_written_no_more",
    ),
    Protection(
        "the checkpoint before a damaged one",
        "distill.storage.checkpoints.checkpoint_paths",
        the_newest_alone,
        f"{CHECKPOINTS}the_newest_whole_checkpoint_is_loaded",
    ),
    Protection(
        "sizes of files of tensors",
        "distill.storage.checkpoints.machine_memory",
        always(2**80),
        f"{DAMAGED}a_size_in_a_file_is_not_believed",
    ),
    Protection(
        "copies of damaged metrics",
        "distill.storage.metrics._free",
        lambda path: path.with_name("metrics-damaged.jsonl"),
        f"{STORAGE}metrics.py::test_copies_do_not_replace_each_other",
    ),
    Protection(
        "names that a file system takes",
        "distill.storage.files.file_name",
        lambda stem, suffix, _: f"{stem}{suffix}",
        f"{STORAGE}files.py::test_any_stem_makes_a_name_that_can_be_written",
    ),
    Protection(
        "tables of a recipe",
        "distill.storage.run._require_tables",
        nothing,
        f"{STORAGE}run.py::test_something_else_in_the_place_of_a_table",
    ),
    Protection(
        "text that no file can hold",
        "distill.recipe._no_text",
        always([]),
        "tests/test_recipe.py::test_text_that_no_file_can_hold_is_refused",
    ),
    Protection(
        "names that are no text",
        "distill.system.utf8.as_text",
        str,
        "tests/audio/corpus/test_scanning.py::test_a_name_that_is_no_text_has_escapes",
    ),
)

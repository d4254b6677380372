"""Protections of models and training runs."""

from contextlib import nullcontext

import torch
from replacing import Protection, always, as_it_is, as_it_was_raised, nothing

TRAINING = "tests/training/test_"

PROTECTIONS = (
    Protection(
        "bounds of numbers",
        "attr._config._run_validators",
        False,  # the value
        "tests/config/test_settings.py::test_a_representation_of_endless_size_is_refused",
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
        "memory that a model needs",
        "distill.model.memory._require",
        nothing,
        "tests/model/test_memory.py::test_the_largest_model_is_refused",
    ),
    Protection(
        "full scale in the model's file",
        "distill.model.loading._FIXED",
        ("representation.", "model."),
        "tests/model/test_loading.py::test_a_recipe_with_another_full_scale_is_said",
    ),
    Protection(
        "options of a resumed run",
        "distill.training.changed_options._refused",
        always([]),
        f"{TRAINING}changed_options.py::test_options_that_differ_are_named",
    ),
    Protection(
        "recordings of a resumed run",
        "distill.training.resuming._compared",
        lambda corpus, *_: (corpus, ""),
        f"{TRAINING}resuming.py::test_a_changed_corpus_is_said_and_may_be_accepted",
    ),
    Protection(
        "whole states of checkpoints",
        "distill.training.resuming._require_whole",
        nothing,
        f"{TRAINING}resuming.py::test_a_state_that_is_not_whole_is_said",
    ),
    Protection(
        "state before a step with an error",
        "distill.training.trainer.break_off",
        as_it_was_raised,
        "tests/training/trainer/test_stopping.py::test_a_term_that_raises_loses_no_step",
    ),
    Protection(
        "interruptions that a term raises by itself",
        "distill.system.stopping.is_stop",
        lambda error: isinstance(error, KeyboardInterrupt),
        "tests/system/test_stopping.py::test_an_interruption_of_its_own_is_no_stop",
    ),
    Protection(
        "weights of a model that has diverged",
        "distill.training.examining.Examination.has_diverged",
        False,  # the value
        "tests/training/trainer/test_nonfinite.py::test_a_model_that_has_diverged_is_not_saved_over_a_sounder_one",
    ),
    Protection(
        "a trained model without checkpoints",
        "distill.training.resuming._require_unbegun",
        nothing,
        "tests/cli/test_train_resuming.py::TestResuming::test_a_trained_run_without_checkpoints_is_not_begun_anew",
    ),
    Protection(
        "means that a checkpoint falls into",
        "distill.training.window.Window.state_dict",
        always({}),
        "tests/training/trainer/test_resuming.py::test_a_checkpoint_within_a_window_continues_it",
    ),
    Protection(
        "events that a resumed run takes again",
        "distill.training.recorder.Reported.covers",
        always(True),  # the value
        f"{TRAINING}recorder.py::test_a_resumed_training_forgets_what_it_takes_again",
    ),
    Protection(
        "batch of a step that cannot be taken",
        "distill.training.failure.keep_batch",
        nothing,
        f"{TRAINING}repeating.py::test_a_step_is_computed_again",
    ),
    Protection(
        "held-out recordings without a finite loss",
        "distill.training.heldout_clips._is_finite",
        always(True),  # the value
        "tests/training/trainer/test_nonfinite.py::test_a_held_out_recording_without_a_finite_loss_is_named",
    ),
    Protection(
        "signs of ill health",
        "distill.training.health.Health._tell",
        nothing,
        f"{TRAINING}health.py::test_a_collapsed_posterior",
    ),
    Protection(
        "terms that write in place",
        "distill.views.inputs.LossInputs.written_since",
        always(""),
        "tests/loss/test_composer_faults.py::test_a_term_that_writes_in_place_is_named",
    ),
    Protection(
        "a step that hangs after a signal",
        "distill.training.interruption.Signals.cuttable",
        lambda _: nullcontext(),
        "tests/training/trainer/test_stopping.py::test_a_step_that_hangs_is_cut_short",
    ),
    Protection(
        "time for results after a signal",
        "distill.training.interruption.Signals.within_time",
        lambda _, compute: compute() or True,
        f"{TRAINING}interruption.py::test_what_takes_too_long_after_a_signal_is_cut_short",
    ),
    Protection(
        "notice of a standstill",
        "distill.training.pulse.Pulse.__enter__",
        as_it_is,
        f"{TRAINING}pulse.py::test_a_standstill_is_said_once",
    ),
    Protection(
        "environment of launchers",
        "distill.training.devices.without_launcher_environment",
        nullcontext,
        f"{TRAINING}devices.py::test_the_environment_changes_no_gradient",
    ),
    Protection(
        "another process that has ended",
        "distill.training.lost_process.is_of_a_lost_process",
        None,
        "tests/training/trainer/test_processes.py::test_a_process_that_is_killed_ends_the_others_with_a_message",
        code="lambda error: False",
    ),
)

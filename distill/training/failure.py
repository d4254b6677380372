"""The end of a training run at a step that cannot be taken: what the cause is, what is saved, what to do."""

import math
import shlex
from collections.abc import Iterable
from typing import TYPE_CHECKING, NoReturn

import torch
from torch import Tensor

from distill.errors import DistillError, TermError, TrainingError, shortened
from distill.loss.components import TOTAL, ComponentName
from distill.loss.faults import described
from distill.storage.checkpoint_files import checkpoint_paths
from distill.training.augmentation import drawn_samples
from distill.training.batches import predict
from distill.training.examining import Examination, examine, nonfinite_names
from distill.training.lost_process import is_of_a_lost_process
from distill.training.nonfinite import Before, Nonfinite, set_torch_states
from distill.training.repeating import keep_batch

if TYPE_CHECKING:
    from distill.training.trainer import Trainer


def stop_for(trainer: "Trainer", found: Nonfinite) -> NoReturn:
    """End a run at a step that was not finite, after keeping its batch and saving what is of use.

    The state before the step is saved, unless the weights or the model's output are not finite: then nothing
    is written over checkpoints of sounder weights.

    Raises:
        TrainingError: always.
    """
    trainer.rewind(found.before)
    require_finite_weights(trainer)
    problem = in_words(trainer, found)
    files = files_of(trainer, found.before)
    examination = keep(trainer, found.before, problem, files)
    sound = not examination.has_diverged
    if damaged := _damaged_files(trainer, found.before):
        problem = "recordings hold samples that are not finite"
        cause = (
            f"Look at {shortened(damaged)}, or at the cache of the corpus: it is made anew if it is removed."
        )
    elif not sound:
        peak = f"has a peak of {examination.peak:.3g}" if examination.peak > 0 else "is not finite"
        problem += f"; the model has diverged, its output {peak}"
        cause = f"Lower training.learning_rate, {_rate(trainer):g} here, and go on from before it diverged."
    else:
        cause = _advice(trainer, found, examination)
    if sound:
        trainer.save()
    raise TrainingError(
        problem,
        culprit=f"step {found.before.step + 1}",
        remedy=f"Its clips are of {shortened(files)}.\n{cause}\n{_how_to_go_on(trainer, saved=sound)}\n"
        f"{_command(trainer, '--repeat-batch')} computes the step again, and shows each term.",
    )


def require_finite_weights(trainer: "Trainer") -> None:
    """End a run if weights are not finite after its latest step. Nothing is saved.

    Raises:
        TrainingError: they are not.
    """
    names = nonfinite_names(_weights(trainer))
    if not names:
        return
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    raise TrainingError(
        f"weights are not finite after this step: {names[0]}{more}",
        culprit=f"step {trainer.step}",
        remedy=f"Lower training.learning_rate, {_rate(trainer):g} here, or training.weight_decay, "
        f"{trainer.settings.weight_decay:g} here.\n{_how_to_go_on(trainer, saved=False)}",
    )


def break_off(trainer: "Trainer", error: BaseException) -> NoReturn:
    """End a run at a step in which an error was raised, after saving the state before that step.

    Raises:
        TermError: a term raised the error. It names the term, and the file and line.
        Exception: the error itself otherwise.
    """
    trainer.look()  # an earlier step that was not finite may be the cause
    before = trainer.before
    if before is None:
        raise error
    trainer.rewind(before)
    raised = None if is_of_a_lost_process(error) else _error_of_a_term(trainer, before, error)
    if not nonfinite_names(_weights(trainer)):
        if raised is not None:
            raised.remedy += f"\n{_how_to_go_on(trainer, saved=True)}"
        trainer.save_after(error if raised is None else raised)
    raise error if raised is None else raised from error


def _error_of_a_term(trainer: "Trainer", before: Before, error: BaseException) -> TermError | None:
    """Return the error of a term, after keeping the batch; None if no term raised it."""
    by_composer = isinstance(error, TermError) and error.__cause__ is not None
    if isinstance(error, DistillError | torch.OutOfMemoryError) and not by_composer:
        return None
    said = error.problem if isinstance(error, TermError) else described(error)
    files = files_of(trainer, before)
    examination = keep(trainer, before, said, files)
    faults = [term for term in examination.terms if term.error]
    if isinstance(error, TermError):
        problem, culprit = error.problem, error.culprit
    elif faults:  # in the backward pass
        problem, culprit = f"the term {faults[0].problem()}", f"{faults[0].name} ({faults[0].origin})"
    elif isinstance(error, Exception):
        return None
    else:  # sys.exit(0) would end the command as if the run were done
        problem, culprit = said, "code of a term or a balancer"
    return TermError(
        problem,
        culprit=f"step {before.step + 1}: {culprit}",
        remedy=f"Its clips are of {shortened(files)}.\n"
        f"{_command(trainer, '--repeat-batch')} computes the step again, and shows each term.",
    )


def keep(trainer: "Trainer", before: Before, problem: str, files: Iterable[str]) -> Examination:
    """Keep the batch of a step in the run folder, and examine it with the weights as they are.

    The state of the run is not changed.
    """
    with trainer.at(before):
        waveform, noise = trainer.draw_clips(), trainer.draw_noise()
    if trainer.accelerator.is_main_process:
        keep_batch(
            trainer.run,
            step=before.step + 1,
            weights_of=trainer.step,
            problem=problem,
            files=files,
            progress=before.progress,
            waveform=waveform,
            noise=noise,
            torch_states=before.torch,
            model=trainer.vae,
            loss=trainer.loss,
        )
    buffers = {name: each.clone() for name, each in trainer.loss.named_buffers()}
    set_torch_states(before.torch)
    iterations = trainer.settings.griffin_lim_iterations
    inputs = predict(
        trainer.vae.train(),
        trainer.representation,
        waveform,
        noise,
        iterations=iterations,
        progress=before.progress,
    )
    weights = trainer.loss.train().active_weights(before.progress)
    examination = examine(trainer.loss, inputs, weights)
    with torch.no_grad():
        for name, each in trainer.loss.named_buffers():
            if name in buffers and each.shape == buffers[name].shape:
                each.copy_(buffers[name])
    set_torch_states(before.torch)
    return examination


def skipped_in_words(trainer: "Trainer", found: Nonfinite) -> str:
    """Keep the batch of a step that was skipped, and return a warning about it."""
    problem = in_words(trainer, found)
    files = files_of(trainer, found.before)
    keep(trainer, found.before, problem, files)
    so_far = f" So far {found.count} steps were skipped." if found.count > 1 else ""
    return (
        f"Step {found.before.step + 1} is skipped: {problem}. Its clips are of {shortened(files)}.{so_far}\n"
        f"{_command(trainer, '--repeat-batch')} computes it again, and shows each term."
    )


def in_words(trainer: "Trainer", found: Nonfinite) -> str:
    """Return which components of a step are not finite."""
    parsed = {name: ComponentName.parse(name) for name in found.components}
    culprits = [
        f"{name}{_origin(trainer, parsed[name].term)} is {value}"
        for name, value in found.components.items()
        if not math.isfinite(value) and name != TOTAL and not parsed[name].is_weighting
    ]
    row = f", in {found.in_a_row} steps in a row" if found.in_a_row > 1 else ""
    return f"the loss is not finite: {', '.join(culprits) or 'total'}{row}"


def files_of(trainer: "Trainer", before: Before) -> list[str]:
    """Return the recordings that the clips of a step are of, each once."""
    return list(dict.fromkeys(_rows(trainer, before)))


def _rows(trainer: "Trainer", before: Before) -> list[str]:
    with trainer.at(before):
        return trainer.corpus.train.names_of(trainer.settings.batch_size, _drawn(trainer), trainer.clips)


def _damaged_files(trainer: "Trainer", before: Before) -> list[str]:
    """Return the recordings of a step with samples that are not finite."""
    names = _rows(trainer, before)
    with trainer.at(before):
        clips: Tensor = trainer.corpus.train.draw(trainer.settings.batch_size, _drawn(trainer), trainer.clips)
    finite = clips.isfinite().all(dim=1).tolist()
    return list(dict.fromkeys(name for name, each in zip(names, finite, strict=False) if not each))


def _drawn(trainer: "Trainer") -> int:
    speed, _ = trainer.settings.augmentation(begun=False)
    return drawn_samples(trainer.clip_samples, speed)


def _rate(trainer: "Trainer") -> float:
    return trainer.settings.rates(begun=False)[0]


def _origin(trainer: "Trainer", term: str) -> str:
    return f" ({trainer.loss.origins[term].origin})" if term in trainer.loss.origins else ""


def _advice(trainer: "Trainer", found: Nonfinite, examination: Examination) -> str:
    """Return which terms cause a step that is not finite although its inputs are, and what to do."""
    culprits = [term for term in examination.terms if term.problem()]
    said = "".join(f"The term {term.name} ({term.origin}) {term.problem()}.\n" for term in culprits)
    parsed = {ComponentName.parse(name): value for name, value in found.components.items()}
    trained = [name.term for name, value in parsed.items() if name.is_objective and not math.isfinite(value)]
    said += "".join(f"The objective of {term}{_origin(trainer, term)} is not finite.\n" for term in trained)
    weights = [_weight_option(trainer, term.name) for term in culprits if term.is_overweight]
    skip = "skip such steps: --set training.nonfinite=skip"
    if weights:
        return f"{said}Lower {' and '.join(weights)}, or {skip}"
    if culprits or trained:
        return f"{said}Mend or leave out the term, or {skip}"
    return f"{said}Lower training.learning_rate, {_rate(trainer):g} here, or {skip}"


def _weight_option(trainer: "Trainer", term: str) -> str:
    return f"loss.{term}.{getattr(trainer.loss.config, term).weight_option}"


def _how_to_go_on(trainer: "Trainer", *, saved: bool) -> str:
    """Return what is saved, and the command that continues from there."""
    again = f"{_command(trainer, '--resume')} goes on from there"
    if saved:
        return f"The state before that step is saved. {again}, with such a change."
    earlier = [step for step in checkpoint_paths(trainer.run.checkpoints) if step <= trainer.step]
    if not earlier:
        return "No checkpoint is of an earlier step: begin again, with such a change."
    there = f"Nothing is written over the checkpoint of step {earlier[-1]}. {again}, with such a change."
    if trainer.heldout.best is None or trainer.heldout.best[1] == earlier[-1]:
        return there
    return f"{there} --from best goes on from step {trainer.heldout.best[1]}, the best one."


def _command(trainer: "Trainer", option: str) -> str:
    return f"distill train {option} --out {shlex.quote(str(trainer.run.folder))}"


def _weights(trainer: "Trainer") -> dict[str, Tensor]:
    """Return the weights of the model and of trained terms, and the moments of the optimizers, by name."""
    own = {f"loss.{name}": each for name, each in trainer.loss.named_parameters()}
    return dict(trainer.vae.named_parameters()) | own | trainer.optimization.moments()

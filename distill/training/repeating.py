"""The batch of a step that was not finite, or at which a term raised an error: kept, and computed again.

Shapes: `B` clips in a batch, `N` samples, `D` numbers per latent frame, `T'` latent frames.
"""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Literal

import torch
from attrs import evolve, frozen
from torch import Tensor, nn

from distill.errors import DistillError, RunError
from distill.loss.composer import CombinedLoss
from distill.model.building import make_model, make_representation
from distill.plugin.hookspecs import TermSpec
from distill.plugin.registry import Registry
from distill.recipe import read_recipe
from distill.storage.checkpoints import load_state, save_state
from distill.storage.run import Run, run_of
from distill.training.batches import predict
from distill.training.building import make_loss
from distill.training.devices import make_accelerator
from distill.training.examining import Examination, examine
from distill.training.nonfinite import set_torch_states, torch_states
from distill.views import LossInputs

_REMEDY = "Train on with --resume; the batch is kept when a step is not finite, or a term raises an error."


@frozen(kw_only=True, eq=False)
class RepeatedBatch:
    """A kept step that was computed again, without training.

    `step` is the number of the step, `problem` what was said of it, `files` are the recordings of its clips.
    `weights_of` is the number of steps that the weights have seen: `step - 1`, or more if the step was
    skipped and the weights have changed since. `components` are those of the whole loss, empty if a term
    raises an error; `examination` has each term by itself. `loss(inputs)` computes the components once more,
    and `loss.unweighted(name, inputs)` a term, in a debugger for one.
    """

    step: int
    weights_of: int
    problem: str
    files: tuple[str, ...]
    components: Mapping[str, float]
    examination: Examination
    loss: CombinedLoss
    inputs: LossInputs
    waveform: Tensor


def keep_batch(
    run: Run,
    *,
    step: int,
    weights_of: int,
    problem: str,
    files: Iterable[str],
    progress: float,
    waveform: Tensor,
    noise: Tensor | None,
    torch_states: Iterable[Tensor],
    model: nn.Module,
    loss: nn.Module,
) -> None:
    """Write the batch of a step, with what it depends on, to the run folder. An existing file is replaced.

    Raises:
        RunError: the file cannot be written.
    """
    state = {
        "step": step,
        "weights_of": weights_of,
        "problem": problem,
        "files": list(files),
        "progress": progress,
        "waveform": waveform,
        "noise": noise,
        "torch": tuple(torch_states),
        "model": model.state_dict(),
        "loss": loss.state_dict(),
    }
    save_state(run.batch, state)


def repeat_batch(
    run: Run | str | os.PathLike[str],
    *,
    loss: Iterable[TermSpec] = (),
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
    registry: Registry | None = None,
) -> RepeatedBatch:
    """Compute the kept step of a training run again, without training, and examine every term.

        repeated = distill.repeat_batch("runs/first")
        print(repeated.problem, repeated.files)
        for term in repeated.examination.terms:
            print(term.name, term.value, term.gradient, term.error)
        repeated.loss.unweighted("mine", repeated.inputs)      # raises what the term raises

    A run keeps the batch of a step whose loss or gradient is not finite, or at which a term raised an error.

    Args:
        run: the run, or its folder.
        loss: the `TermSpec` of each term that is not installed.
        device: the device to compute on, by default that of the recipe.
        registry: where to look up terms and the balancer. Default: all installed ones.

    Raises:
        RunError: the folder is not a run, keeps no batch, or the batch is of another recipe.
        TermError: a term is unknown, ambiguous or broken.
    """
    run = run_of(run)
    with run.naming_recipe():
        draft = read_recipe(run.read_recipe(), registry or Registry(), specs=loss)
    if not run.batch.exists():
        raise RunError("keeps no batch of a step", culprit=str(run.folder), remedy=_REMEDY)
    settings = draft.recipe.training
    settings = settings if device is None else evolve(settings, device=device)
    accelerator = make_accelerator(settings)
    representation = make_representation(draft.recipe.representation).to(accelerator.device)
    model = make_model(draft.recipe.model, representation, settings.seed).to(accelerator.device).train()
    combined = make_loss(draft, settings.seed).to(accelerator.device).train()
    batch = _restored(run, model, combined, accelerator.device)
    accelerator.prepare_model(model)
    # Also where gradients are switched off around the call, in a notebook for one.
    with torch.inference_mode(mode=False), torch.enable_grad(), torch.random.fork_rng():
        set_torch_states(batch.random)
        inputs = predict(
            model,
            representation,
            batch.waveform,
            batch.noise,
            iterations=settings.griffin_lim_iterations,
            progress=batch.progress,
        )
        components, examination = _examined(combined, inputs, batch.progress)
    return RepeatedBatch(
        step=batch.step,
        weights_of=batch.weights_of,
        problem=batch.problem,
        files=batch.files,
        components=components,
        examination=examination,
        loss=combined,
        inputs=inputs,
        waveform=batch.waveform,
    )


def _restored(run: Run, model: nn.Module, loss: nn.Module, device: torch.device) -> "_Batch":
    """Return the batch that a run keeps, and give the model and the loss the states that it was kept with.

    Raises:
        RunError: the batch is of another recipe, or damaged.
    """
    kept = load_state(run.batch)
    try:
        model.load_state_dict(kept["model"])
        loss.load_state_dict(kept["loss"])
        return _Batch.of(kept, device)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise RunError(
            "the kept batch is of another recipe, or damaged", culprit=str(run.batch), remedy=_REMEDY
        ) from error


def _examined(
    loss: CombinedLoss, inputs: LossInputs, progress: float
) -> tuple[dict[str, float], Examination]:
    """Return the components of a loss, none if a term raises an error, and the examination of every term.

    Both draw the same random numbers, those of the training step.
    """
    after_model = torch_states()
    components: dict[str, float] = {}
    with suppress(DistillError):  # each term is examined below
        components = {name: value.item() for name, value in loss(inputs).items()}
    set_torch_states(after_model)
    return components, examine(loss, inputs, loss.active_weights(progress))


@frozen(kw_only=True, eq=False)
class _Batch:
    step: int
    weights_of: int
    problem: str
    files: tuple[str, ...]
    progress: float
    waveform: Tensor
    noise: Tensor | None
    random: tuple[Tensor, ...]

    @classmethod
    def of(cls, kept: Mapping[str, Any], device: torch.device) -> "_Batch":
        """Return the batch that `keep_batch` has written, on a device."""
        noise = kept["noise"]
        return cls(
            step=int(kept["step"]),
            weights_of=int(kept["weights_of"]),
            problem=str(kept["problem"]),
            files=tuple(map(str, kept["files"])),
            progress=float(kept["progress"]),
            waveform=kept["waveform"].to(device),
            noise=None if noise is None else noise.to(device),
            random=tuple(kept["torch"]),
        )

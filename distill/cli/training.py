"""What `distill train` does once its recipe is right: opens the corpus, trains, and leaves sounds to hear."""

import sys
from contextlib import ExitStack
from typing import Any

import click
from rich.console import Console

from distill import assembly
from distill.audio import write_audio
from distill.checkpoints import load_latest, write_text
from distill.cli.display import Display, corpus_progress, summary
from distill.composer import CombinedLoss
from distill.corpus import Corpus
from distill.model import VAE
from distill.recipe import Draft
from distill.recorder import Recorder
from distill.representation import MagnitudeIF
from distill.run import Run
from distill.sounds import reconstruct
from distill.trainer import Interrupted, Record, Trainer

_PAIRS = 8
_PAIR_SECONDS = 10


def carry_out(draft: Draft, run: Run, *, resume: bool) -> None:
    """Train as a recipe says, writing to `run`, and say what to do next.

    Raises:
        DistillError: the recipe, the corpus or the run folder is wrong, or the loss was not finite.
        SystemExit: 130, the training was interrupted and has saved itself.
    """
    recipe, console = draft.recipe, Console()
    for warning in draft.warnings:
        click.secho(f"Warning: {warning}", fg="yellow", err=True)
    accelerator = assembly.make_accelerator(recipe.training)
    representation = assembly.make_representation(recipe.representation)
    model = assembly.make_model(recipe.model, representation, recipe.training.seed)
    loss = CombinedLoss(draft.terms, recipe.loss)
    state = _latest_state(run) if resume else None
    runs = run.folder.resolve().parent
    with accelerator.main_process_first(), corpus_progress(console) as on_progress:
        corpus = assembly.open_recipe_corpus(
            recipe.corpus, recipe.representation.sample_rate, runs, on_progress
        )
    main = accelerator.is_main_process
    if main:
        write_text(run.recipe, recipe.to_toml())
    console = console if main else Console(quiet=True)
    summary(console, draft, corpus, model, f"{accelerator.device}, {accelerator.mixed_precision}")
    with ExitStack() as stack:
        recorder = stack.enter_context(Recorder(run, resumed_at=state["step"] if state else None)) if main else None
        display = stack.enter_context(Display(console))

        def report(record: Record) -> None:
            display.show(record)
            if recorder is not None:
                recorder.write(record)

        trainer = Trainer(
            recipe.training,
            accelerator,
            model=model,
            representation=representation,
            loss=loss,
            corpus=corpus,
            run=run,
            report=report,
            warn=display.warn,
        )
        try:
            trainer.train(state)
        except Interrupted:
            stack.close()
            console.print(f"Interrupted at step {trainer.step}, and saved. Go on with:")
            _print_command(console, f"distill train --resume --out {run.folder}")
            sys.exit(130)
    if main:
        assembly.save_latents(run, model, representation, corpus)
        _leave_pairs(run, model, representation, corpus)
        _say_what_next(console, run, corpus)


def _latest_state(run: Run) -> dict[str, Any] | None:
    """Load the newest whole checkpoint of a run; none if it was stopped before the first."""
    checkpoint = load_latest(run.checkpoints)
    for damaged in checkpoint.damaged if checkpoint else ():
        click.secho(f"Warning: {damaged}", fg="yellow", err=True)
    return checkpoint.state if checkpoint else None


def _leave_pairs(run: Run, vae: VAE, representation: MagnitudeIF, corpus: Corpus) -> None:
    """Write held-out recordings, or trained ones where none are, beside what the model makes of them."""
    split = corpus.heldout if corpus.heldout.recordings else corpus.train
    for recording in split.recordings[:_PAIRS]:
        original = split.read(recording)[:, : _PAIR_SECONDS * corpus.sample_rate]
        name = recording.name.replace("/", "_").rpartition(".")[0]
        write_audio(run.audio / f"{name}.original.wav", original, corpus.sample_rate)
        made = reconstruct(vae, representation, original)
        write_audio(run.audio / f"{name}.reconstruction.wav", made, corpus.sample_rate)


def _say_what_next(console: Console, run: Run, corpus: Corpus) -> None:
    console.print(f"Done. Originals and reconstructions to listen to: {run.audio}")
    console.print("Next:")
    _print_command(console, f"distill reconstruct {run.folder} FILE... --out DIR")
    _print_command(console, f"distill generate {run.folder} -n 8 --out DIR")
    _print_command(console, f"distill evaluate {run.folder} {corpus.folder}")


def _print_command(console: Console, command: str) -> None:
    console.print(f"  {command}", style="bold", markup=False, highlight=False, soft_wrap=True)

"""What `distill train` does once its recipe is right: opens the corpus, trains, and leaves sounds to hear."""

import shlex
import sys
from contextlib import ExitStack
from pathlib import Path, PurePath
from typing import Any

import click
from attrs import evolve
from rich.console import Console

from distill.audio.corpus import Corpus, Stream
from distill.audio.corpus.membership import Membership
from distill.audio.soundfiles import write_audio
from distill.cli.display import Display, corpus_progress, in_words, say, summary
from distill.model import VAE
from distill.model.sounds import reconstruct
from distill.recipe import Draft
from distill.settings import TrainingSettings
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import load_latest, write_text
from distill.storage.run import Run
from distill.training import assembly
from distill.training.memory import keep_freed_memory
from distill.training.recorder import Recorder
from distill.training.starting import Start, start
from distill.training.trainer import Interrupted, Record, Trainer

_PAIR_SECONDS = 10


def carry_out(draft: Draft, run: Run, *, resume: bool) -> None:
    """Train as a recipe says, writing to `run`, and say what to do next.

    Raises:
        DistillError: the recipe, the corpus or the run folder is wrong, or the loss was not finite.
        SystemExit: 130, the training was interrupted and has saved itself.
    """
    keep_freed_memory()
    recipe, console = draft.recipe, Console()
    accelerator = assembly.make_accelerator(recipe.training)
    main = accelerator.is_main_process
    for warning in draft.warnings if main else ():
        click.secho(f"Warning: {warning}", fg="yellow", err=True)
    representation = assembly.make_representation(recipe.representation)
    model = assembly.make_model(recipe.model, representation, recipe.training.seed)
    loss = assembly.make_loss(draft, recipe.training.seed)
    state = _latest_state(run) if resume else None
    begun = Start.recorded(run) if state else start(model, recipe)
    recipe = evolve(
        recipe,
        training=recipe.training.settled(begun=begun.origin != "none"),
        provenance=recipe.provenance | {"training.start": begun.origin},
    )
    runs = run.folder.resolve().parent
    # One decodes for all, and where machines share no disk, one on each of them.
    with (
        accelerator.main_process_first(),
        accelerator.local_main_process_first(),
        corpus_progress(console) as on_progress,
    ):
        corpus = assembly.open_recipe_corpus(
            recipe.corpus,
            recipe.representation.sample_rate,
            runs,
            on_progress,
            seed=recipe.training.seed,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
        )
    if main:
        write_text(run.recipe, recipe.to_toml())
        membership = Membership.of(corpus)
        if resume and run.split.exists():
            membership = membership.after(Membership.read(run.split))
        membership.write(run.split)
    console = console if main else Console(quiet=True)
    precision = "bfloat16" if accelerator.mixed_precision == "bf16" else "float32"
    summary(console, draft, corpus, model, device=f"{accelerator.device}, {precision}", begun=begun.said)
    # A run that was killed before its first checkpoint is resumed at step 0.
    resumed_at = (state["step"] if state else 0) if resume else None
    with ExitStack() as stack:
        recorder = stack.enter_context(Recorder(run, resumed_at=resumed_at)) if main else None
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
        if state is None:
            keep = main and begun.origin != "none"
            assembly.prepare(run, model, representation, corpus, recipe.training, keep=keep)
        try:
            trainer.train(state)
        except Interrupted:
            stack.close()
            say(console, f"Interrupted at step {trainer.step}, and saved. Go on with:")
            _print_command(console, "train", "--resume", "--out", run.folder)
            sys.exit(130)
    if resumed_at is not None and trainer.step == resumed_at:
        say(console, f"The training was finished already, at step {trainer.step}. Go on with it for longer:")
        _print_command(console, "train", "--resume", "--out", run.folder, "--minutes", "M")
    if main:
        _finish(console, run, model, representation, corpus, recipe.training)


def _latest_state(run: Run) -> dict[str, Any] | None:
    """Load the newest whole checkpoint of a run; none if it was stopped before the first."""
    checkpoint = load_latest(run.checkpoints)
    for damaged in checkpoint.damaged if checkpoint else ():
        click.secho(f"Warning: {damaged}", fg="yellow", err=True)
    return checkpoint.state if checkpoint else None


def _finish(
    console: Console,
    run: Run,
    vae: VAE,
    representation: MagnitudeIF,
    corpus: Corpus,
    settings: TrainingSettings,
) -> None:
    """Leave in the run folder what follows a training, and say what to do next."""
    with console.status("Encoding the recordings, and writing sounds to listen to"):
        retention = assembly.finish(run, vae, representation, corpus, settings)
        _leave_pairs(run, vae, representation, corpus, settings.pairs)
    if retention is not None:
        say(console, in_words(retention))
    _say_what_next(console, run, corpus)


def _leave_pairs(run: Run, vae: VAE, representation: MagnitudeIF, corpus: Corpus, count: int) -> None:
    """Write held-out recordings, or trained ones where none are, beside what the model makes of them."""
    split = corpus.heldout if corpus.heldout.recordings else corpus.train
    # Numbered, since recordings in two folders may share a name.
    for number, recording in enumerate(split.recordings[:count], 1):
        original = split.read(recording)[:, : _PAIR_SECONDS * corpus.sample_rate]
        name = f"{number}-{PurePath(recording.name).stem}"
        write_audio(run.audio / f"{name}.original.wav", original, corpus.sample_rate)
        made = reconstruct(vae, representation, original)
        write_audio(run.audio / f"{name}.reconstruction.wav", made, corpus.sample_rate)


def _say_what_next(console: Console, run: Run, corpus: Corpus) -> None:
    say(
        console,
        f"Done. Originals and reconstructions to listen to: {run.audio}" if run.audio.exists() else "Done.",
    )
    say(console, "Next:")
    _print_command(console, "reconstruct", run.folder, "FILE...", "--out", "DIR")
    _print_command(console, "generate", run.folder, "-n", "8", "--out", "DIR")
    heldout = corpus.heldout.recordings
    if isinstance(corpus.train, Stream):
        measurable = corpus.folder if heldout else "RECORDINGS"
    else:
        measurable = "--heldout" if heldout else corpus.folder
    _print_command(console, "evaluate", run.folder, measurable)


def _print_command(console: Console, *words: str | Path) -> None:
    say(console, "  distill " + " ".join(shlex.quote(str(word)) for word in words), style="bold")

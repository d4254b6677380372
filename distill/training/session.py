"""A training run from its recipe to its results: the one place where its parts are assembled."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from attrs import evolve, frozen

from distill.audio.corpus import Corpus, NamedArray
from distill.audio.corpus.membership import Membership
from distill.audio.progress import Progress
from distill.config.settings import TrainingSettings
from distill.loss.composer import CombinedLoss
from distill.model import VAE
from distill.model.building import make_model, make_representation
from distill.model.memory import Sizes
from distill.recipe import Draft, Recipe
from distill.reporting.report import report
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import save_state
from distill.storage.ending import Ending
from distill.storage.files import write_text
from distill.storage.locking import Held
from distill.storage.run import Run
from distill.training.audience import Audience
from distill.training.batches import begin
from distill.training.building import make_loss, open_recipe_corpus
from distill.training.devices import make_accelerator
from distill.training.finishing import Finished, finish
from distill.training.interruption import Interrupted, Signals, Stopped
from distill.training.lost_process import lost_process
from distill.training.observing import Observer, Outcome, Summary
from distill.training.partial_run import PartialRun
from distill.training.pulse import Pulse
from distill.training.record import About, Record
from distill.training.recorder import Recorder, Reported
from distill.training.resuming import Resuming, earlier_membership, made_with
from distill.training.retention import Retention
from distill.training.starting import Start, start
from distill.training.trainer import Trainer
from distill.training.without_effect import without_effect


def carry_out(
    draft: Draft,
    run: Run,
    *,
    resuming: Resuming | None,
    audience: Audience,
    signals: Signals,
    arrays: Iterable[NamedArray] | None = None,
    lock: Held | None = None,
) -> Run:
    """Train as a recipe describes, write the results to `run`, and return it.

    `resuming` says how an existing run is resumed, None for a new run. In distributed training, only the main
    process reports to the audience, and `run` is that of the main process. `arrays` is the corpus if it was
    passed as arrays, `lock` that of the run folder.

    Raises:
        DistillError: the recipe, the corpus or the run folder is not valid, the loss is not finite, or
            another process of the training run has ended.
        LockError: another process has taken the run over, while this one did not run.
        Interrupted: SIGINT, SIGTERM or SIGHUP was received. What there is of the run is saved, and can be
            used and resumed.
    """
    accelerator = make_accelerator(draft.recipe.training)
    main = accelerator.is_main_process
    audience = audience if main else Audience()
    partial_run = PartialRun(run=run, recipe=draft.recipe)
    try:
        run = partial_run.run = _of_the_main_process(run, accelerator)
        signals.check()
        with Pulse(partial(audience.warn, "progress")) as pulse:
            context = _Context(
                run=run,
                accelerator=accelerator,
                audience=evolve(audience, moved=pulse.moved),
                signals=signals,
                resuming=resuming,
                arrays=arrays,
                lock=lock,
            )
            outcome = _train_and_finish(partial_run, draft, context)
        if main:
            _end(partial_run, outcome.retention, draft.recipe.training, audience)
    except (Interrupted, Stopped):
        signals.note()
        if main:
            partial_run.leave_usable(signals)
            partial_run.end(Ending(state="interrupted"))
        # Otherwise a launcher would end this process with the first of the others. After the last step, and
        # perhaps while its end is saved here, they have ended.
        if not partial_run.trained:
            with suppress(RuntimeError):
                accelerator.wait_for_everyone()
        audience.observer.done(partial_run.outcome(interrupted=True))
        raise Interrupted(run, partial_run.step) from None
    except Exception as error:
        lost = lost_process(error, run, accelerator)
        if main:
            partial_run.end_with(lost or error)
        if lost:
            raise lost from error
        raise
    if main:
        audience.observer.done(outcome)
    return run


def _of_the_main_process(run: Run, accelerator: Accelerator) -> Run:
    """Return the run that the main process has reserved."""
    if accelerator.num_processes == 1:
        return run
    folders = broadcast_object_list([str(run.folder)])
    return Run(Path(folders[0]))


@frozen(kw_only=True, eq=False)
class _Context:
    """What a training run works with besides its recipe; see `carry_out`."""

    run: Run
    accelerator: Accelerator
    audience: Audience
    signals: Signals
    resuming: Resuming | None
    arrays: Iterable[NamedArray] | None
    lock: Held | None

    @property
    def is_main(self) -> bool:
        """Whether this is the main process, which writes the results."""
        return self.accelerator.is_main_process

    def require_lock(self) -> None:
        """Check that no other process has taken the run over, if this process has locked the folder itself.

        Raises:
            LockError: one has.
        """
        if self.lock is not None:
            self.lock.require()

    def warn_of(self, about: About) -> Callable[[str], None]:
        """Return a function that sends the audience a warning about something."""
        return partial(self.audience.warn, about)


@frozen(kw_only=True, eq=False)
class _Parts:
    """The parts of a training run before its first step. `state` is that of the checkpoint to go on from."""

    draft: Draft
    start: Start
    representation: MagnitudeIF
    model: VAE
    loss: CombinedLoss
    corpus: Corpus
    state: dict[str, Any] | None


def _train_and_finish(partial_run: PartialRun, draft: Draft, context: _Context) -> Outcome:
    """Train and finish; keep in `partial_run` what a signal would leave."""
    _require_resources(draft, context)
    parts = _assemble(draft, context)
    partial_run.corpus = parts.corpus
    if context.resuming:  # a run that was killed before its first checkpoint is resumed at step 0
        partial_run.resumed_at = parts.state["step"] if parts.state else 0
    if context.is_main:
        _write_what_is_trained(parts, context)
        partial_run.note_descriptions()
    _summarize(parts, context)
    trainer = _make_trainer(parts, context)
    if parts.state is None:
        _begin(parts, context)
    partial_run.begin(trainer)
    trainer.train(parts.state)
    partial_run.trained = True
    trainer.health.finished(resumed=parts.state is not None)
    context.signals.check()
    if not context.is_main:
        return partial_run.outcome()
    finished = _write_results(partial_run, parts, context, trainer.made_with["recipe"])
    context.signals.check()
    return partial_run.outcome(retention=finished.retention, pairs=finished.pairs)


def _require_resources(draft: Draft, context: _Context) -> None:
    """Send the warnings about the recipe and the lock, and check that there is enough memory.

    Raises:
        ConfigError: there is not.
    """
    for message in draft.warnings:
        context.audience.warn("recipe", message)
    sizes = Sizes(draft.recipe.model, draft.recipe.representation)
    sizes.require_training(draft.recipe.training, context.accelerator.num_processes)
    if context.lock is not None and context.lock.warning is not None:
        context.audience.warn("lock", context.lock.warning)


def _assemble(draft: Draft, context: _Context) -> _Parts:
    """Build the model and the loss, find the checkpoint to go on from, and open the corpus."""
    run, resuming = context.run, context.resuming
    seed = draft.recipe.training.seed
    representation = make_representation(draft.recipe.representation)
    model = make_model(draft.recipe.model, representation, seed)
    loss = make_loss(draft, seed)
    state = resuming.find_state(run, context.warn_of("checkpoint")) if resuming else None
    begun = Start.recorded(run) if state else start(model, draft.recipe)
    for message in without_effect(draft.recipe, model, begun, resumed=bool(resuming)):
        context.audience.warn("recipe", message)
    model.keeps_code = begun.keeps_code
    draft = _settled(draft, begun, model)
    if resuming:
        resuming.require_unchanged(draft, run, state)
    corpus = _open_corpus(draft.recipe, context)
    if resuming:
        corpus, state = resuming.continued(corpus, draft, run, state, context.warn_of("corpus"))
    return _Parts(
        draft=draft,
        start=begun,
        representation=representation,
        model=model,
        loss=loss,
        corpus=corpus,
        state=state,
    )


def _summarize(parts: _Parts, context: _Context) -> None:
    """Send the summary to the observer."""
    accelerator = context.accelerator
    context.audience.observer.summary(
        Summary.of(
            parts.draft,
            context.run,
            parts.corpus,
            parts.model,
            start=parts.start.said,
            device=str(accelerator.device),
            precision="bfloat16" if accelerator.mixed_precision == "bf16" else "float32",
        )
    )


def _make_trainer(parts: _Parts, context: _Context) -> Trainer:
    """Return the trainer. In the main process, its records are written to the run folder, too."""
    run, audience = context.run, context.audience
    recorder = None
    if context.is_main:
        resumed = Reported.of(parts.state) if context.resuming else None
        recorder = Recorder(run, resumed=resumed, warn=audience.warn)
    return Trainer(
        parts.draft.recipe.training,
        context.accelerator,
        model=parts.model,
        representation=parts.representation,
        loss=parts.loss,
        corpus=parts.corpus,
        run=run,
        report=_reporting(recorder, audience.observer, context.require_lock),
        warn=audience.warn,
        signals=context.signals,
        require_lock=context.require_lock,
        made_with=made_with(parts.draft.recipe, parts.corpus),
        moved=audience.moved,
    )


def _begin(parts: _Parts, context: _Context) -> None:
    """Fit the model to the corpus before the first step, and save the model that it starts from, if any."""
    begin(
        parts.model,
        parts.representation,
        parts.corpus.train,
        parts.start.codes,
    )
    if context.is_main and parts.start.origin != "none":
        save_state(context.run.start, parts.model.state_dict())


def _write_results(
    partial_run: PartialRun, parts: _Parts, context: _Context, options: Mapping[str, Any]
) -> Finished:
    """Write the results of the training. `options` of the recipe, by address, are saved with the model."""
    context.require_lock()
    if partial_run.restore_descriptions():
        context.audience.warn(
            "recipe",
            f"{context.run.folder}: files were removed during the training. Its recipe is there again.",
        )
    return finish(
        context.run,
        parts.model,
        parts.representation,
        parts.corpus,
        parts.draft.recipe.training,
        on_progress=context.audience.finishing,
        on_usable=partial_run.now_usable,
        warn=context.warn_of("pairs"),
        options=options,
    )


def _end(
    partial_run: PartialRun, retention: Retention | None, settings: TrainingSettings, audience: Audience
) -> None:
    """Write that a run is finished, and its page. All results are there already, and no error hides them."""
    run = partial_run.run
    partial_run.end(Ending(state="finished", kept=retention.share if retention else None))
    if not settings.page:
        return
    try:
        audience.finishing(Progress(stage="page", done=0, total=1))
        report(run)
    except Exception as error:  # noqa: BLE001  # whatever it is, the run is complete
        audience.warn(
            "page",
            f"The page of the run cannot be made: {error}\n"
            f"The run is complete. Try again with: distill report {quote(str(run.folder))}",
        )


def _settled(draft: Draft, begun: Start, model: VAE) -> Draft:
    """Return the draft with settings that depend on the initial weights, and with their origin."""
    recipe = evolve(
        draft.recipe,
        training=begun.settled(draft.recipe.training, model),
        provenance=draft.recipe.provenance | begun.provenance,
    )
    return evolve(draft, recipe=recipe)


def _open_corpus(recipe: Recipe, context: _Context) -> Corpus:
    accelerator = context.accelerator
    # One process decodes for all; on machines that share no disk, one process on each machine does.
    with accelerator.main_process_first(), accelerator.local_main_process_first():
        return open_recipe_corpus(
            recipe.corpus,
            recipe.representation.sample_rate,
            context.run.folder.resolve().parent,
            context.audience.decoded,
            arrays=context.arrays,
            seed=recipe.training.seed,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
        )


def _write_what_is_trained(parts: _Parts, context: _Context) -> None:
    """Write the recipe, and the lists of training, held-out and unusable recordings."""
    run, recipe, corpus, state = context.run, parts.draft.recipe, parts.corpus, parts.state
    if context.resuming:
        context.resuming.adopt(run, state, keep=recipe.training.checkpoints)
    write_text(run.recipe, recipe.to_toml())
    if corpus.skipped:
        write_text(run.skipped, "".join(f"{each.path}: {each.reason}\n" for each in corpus.skipped))
    membership = Membership.of(corpus)
    earlier = None if state is None else earlier_membership(run)
    (membership.after(earlier) if earlier else membership).write(run.split)


def _reporting(
    recorder: Recorder | None, observer: Observer, require_lock: Callable[[], None]
) -> Callable[[Record], None]:
    def report(record: Record) -> None:
        require_lock()
        if recorder is not None:
            recorder.write(record)
        observer.record(record)

    return report

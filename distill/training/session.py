"""A training run from its recipe to its results: the one place where its parts are assembled."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from attrs import evolve, field, frozen

from distill.audio.corpus import Corpus, NamedArray
from distill.audio.corpus.membership import Membership
from distill.audio.progress import Progress
from distill.model import VAE
from distill.model.building import make_model, make_representation
from distill.model.memory import Sizes
from distill.recipe import Draft, Recipe
from distill.reporting.report import report
from distill.settings import TrainingSettings
from distill.storage.checkpoints import save_state
from distill.storage.ending import Ending
from distill.storage.files import write_text
from distill.storage.locking import Held
from distill.storage.run import Run
from distill.training.batches import begin
from distill.training.building import make_loss, open_recipe_corpus
from distill.training.devices import make_accelerator
from distill.training.finishing import finish
from distill.training.interruption import Interrupted, Signals, Stopped
from distill.training.observing import Observer, Outcome, Silent, Summary, TrainingWarning
from distill.training.partial_run import PartialRun
from distill.training.pulse import Pulse
from distill.training.record import About, Record
from distill.training.recorder import Recorder, Reported
from distill.training.resuming import Resuming, earlier_membership, made_with
from distill.training.retention import Retention
from distill.training.starting import Start, start
from distill.training.trainer import Trainer


@frozen(kw_only=True)
class Audience:
    """The recipients of reports: an observer, and a callback for progress before and after the training.

    `moved` is told of every progress.
    """

    observer: Observer = field(factory=Silent)
    on_progress: Callable[[Progress], None] | None = None
    moved: Callable[[str], None] = field(default=lambda _: None)

    def warn(self, about: About, message: str) -> None:
        """Send a warning to the observer."""
        self.observer.warning(TrainingWarning(about=about, message=message))

    def decoded(self, done: int, total: int) -> None:
        """Report how many recordings are decoded."""
        self.moved(f"recording {done} of {total} was decoded")
        self._progress(Progress(stage="decoding", done=done, total=total))

    def finishing(self, progress: Progress) -> None:
        """Report the progress after the training."""
        stage = f"the stage '{progress.stage}' after the last step"
        self.moved(f"{progress.done} of {progress.total} of {stage}" if progress.done else f"{stage} began")
        self._progress(progress)

    def _progress(self, progress: Progress) -> None:
        if self.on_progress is not None:
            self.on_progress(progress)


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
        DistillError: the recipe, the corpus or the run folder is not valid, or the loss is not finite.
        LockError: another process has taken the run over, while this one did not run.
        Interrupted: SIGINT, SIGTERM or SIGHUP was received. What there is of the run is saved, and can be
            used and resumed.
    """
    accelerator = make_accelerator(draft.recipe.training)
    main = accelerator.is_main_process
    run = _of_the_main_process(run, accelerator)
    audience = audience if main else Audience()
    partial_run = PartialRun(run=run, recipe=draft.recipe)
    try:
        signals.check()
        with Pulse(partial(audience.warn, "progress")) as pulse:
            audience = evolve(audience, moved=pulse.moved)
            outcome = _carry_out(partial_run, draft, accelerator, resuming, audience, signals, arrays, lock)
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
        if main:
            partial_run.end_with(error)
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


def _none_to_require() -> None:
    """Accept a run folder that another process has locked for this one."""


def _carry_out(
    partial_run: PartialRun,
    draft: Draft,
    accelerator: Accelerator,
    resuming: Resuming | None,
    audience: Audience,
    signals: Signals,
    arrays: Iterable[NamedArray] | None,
    lock: Held | None,
) -> Outcome:
    """Train and finish; keep in `partial_run` what a signal would leave."""
    run, main = partial_run.run, accelerator.is_main_process
    for message in draft.warnings:
        audience.warn("recipe", message)
    sizes = Sizes(draft.recipe.model, draft.recipe.representation)
    sizes.require_training(draft.recipe.training, accelerator.num_processes)
    if lock is not None and lock.warning is not None:
        audience.warn("lock", lock.warning)
    require_lock = lock.require if lock is not None else _none_to_require
    seed = draft.recipe.training.seed
    representation = make_representation(draft.recipe.representation)
    model = make_model(draft.recipe.model, representation, seed)
    loss = make_loss(draft, seed)
    state = resuming.find_state(run, partial(audience.warn, "checkpoint")) if resuming else None
    begun = Start.recorded(run) if state else start(model, draft.recipe)
    draft = _settled(draft, begun, model)
    if resuming:
        resuming.require_unchanged(draft, run, state)
    corpus = _open_corpus(draft.recipe, run, accelerator, audience, arrays)
    if resuming:
        corpus, state = resuming.continued(corpus, draft, run, state, partial(audience.warn, "corpus"))
    # A run that was killed before its first checkpoint is resumed at step 0.
    partial_run.resumed_at = (state["step"] if state else 0) if resuming else None
    partial_run.corpus = corpus
    if main:
        _write_what_is_trained(run, draft.recipe, corpus, resuming, state)
        partial_run.note_descriptions()
    precision = "bfloat16" if accelerator.mixed_precision == "bf16" else "float32"
    audience.observer.summary(
        Summary.of(
            draft,
            run,
            corpus,
            model,
            start=begun.said,
            device=str(accelerator.device),
            precision=precision,
        )
    )
    settings = draft.recipe.training
    resumed = Reported.of(state) if resuming else None
    recorder = Recorder(run, resumed=resumed, warn=audience.warn) if main else None
    trainer = Trainer(
        settings,
        accelerator,
        model=model,
        representation=representation,
        loss=loss,
        corpus=corpus,
        run=run,
        report=_reporting(recorder, audience.observer, require_lock),
        warn=audience.warn,
        signals=signals,
        require_lock=require_lock,
        made_with=made_with(draft.recipe, corpus),
        moved=audience.moved,
    )
    if state is None:
        begin(model, representation, corpus.train, settings, begun.codes)
        if main and begun.origin != "none":
            save_state(run.start, model.state_dict())
    partial_run.begin(trainer)
    trainer.train(state)
    partial_run.trained = True
    trainer.health.finished(resumed=state is not None)
    signals.check()
    if not main:
        return partial_run.outcome()
    require_lock()
    if partial_run.restore_descriptions():
        audience.warn(
            "recipe", f"{run.folder}: files were removed during the training. Its recipe is there again."
        )
    finished = finish(
        run,
        model,
        representation,
        corpus,
        settings,
        audience.finishing,
        partial_run.now_usable,
        partial(audience.warn, "pairs"),
        trainer.made_with["recipe"],
    )
    signals.check()
    return partial_run.outcome(retention=finished.retention, pairs=finished.pairs)


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
        training=draft.recipe.training.settled(
            begun=begun.origin != "none", new_code=model.axes is not None and not model.axes.begun
        ),
        provenance=draft.recipe.provenance | {"training.start": begun.origin},
    )
    return evolve(draft, recipe=recipe)


def _open_corpus(
    recipe: Recipe,
    run: Run,
    accelerator: Accelerator,
    audience: Audience,
    arrays: Iterable[NamedArray] | None,
) -> Corpus:
    # One process decodes for all; on machines that share no disk, one process on each machine does.
    with accelerator.main_process_first(), accelerator.local_main_process_first():
        return open_recipe_corpus(
            recipe.corpus,
            recipe.representation.sample_rate,
            run.folder.resolve().parent,
            audience.decoded,
            arrays=arrays,
            seed=recipe.training.seed,
            process=accelerator.process_index,
            processes=accelerator.num_processes,
        )


def _write_what_is_trained(
    run: Run, recipe: Recipe, corpus: Corpus, resuming: Resuming | None, state: Mapping[str, Any] | None
) -> None:
    """Write the recipe, and the lists of training, held-out and unusable recordings."""
    if resuming:
        resuming.adopt(run, state, keep=recipe.training.checkpoints)
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

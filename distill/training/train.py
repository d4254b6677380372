"""`distill.train`, which the command line also calls."""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import evolve, frozen

from distill.arguments import (
    absolute,
    checkpoint_like,
    corpus_location,
    is_url,
    optional_callable,
    options_by_address,
    path_like,
    require_corpus,
)
from distill.config import as_given, given_arguments
from distill.config.settings import ARRAYS
from distill.errors import CorpusError, InputError, RunError, shortened
from distill.loss.config import terms_of
from distill.plugin.hookspecs import TermSpec
from distill.plugin.registry import Registry, one_by_one
from distill.recipe import Draft, Recipe, Terms, read_recipe
from distill.storage.memory import naming_shortage
from distill.storage.reserving import Reserved, reserved, reserved_free
from distill.storage.run import Run
from distill.training.changed_options import require_same_options
from distill.training.interruption import Signals, Stopped
from distill.training.memory import keep_freed_memory
from distill.training.shared_arguments import (
    RUNS,
    drop_length,
    folder_name,
    recipe_tree,
    require_no_url,
)

if TYPE_CHECKING:
    from distill.audio.corpus import NamedArray
    from distill.audio.progress import Progress
    from distill.training.observing import Observer

StrPath: TypeAlias = str | os.PathLike[str]


def train(
    corpus: "StrPath | Recipe | Iterable[NamedArray] | None" = None,
    *,
    loss: Terms | None = None,
    recipe: Recipe | Mapping[str, Any] | StrPath | None = None,
    options: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
    balance: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int | None = None,
    device: str | None = None,
    out: StrPath | None = None,
    resume: bool = False,
    checkpoint: int | str | None = None,
    accept_changes: bool = False,
    observer: "Observer | None" = None,
    on_progress: "Callable[[Progress], None] | None" = None,
    registry: Registry | None = None,
) -> Run:
    """Train a VAE on recordings, and return the run folder.

        run = distill.train("my-sounds", loss="stft,recon,kl", minutes=15, out="runs/first",
                            options={"loss.stft.weight": 2.0})

    The function does what the command `distill train` does, and prints nothing. It can be called several
    times in a process, and in any thread.

    SIGINT (Ctrl-C), SIGTERM and SIGHUP end the run, at the latest after the current step: the state is saved,
    latents as far as they take few seconds, and `Interrupted`, a `KeyboardInterrupt`, is raised. A second
    signal ends it at once. Python delivers signals to the main thread only. In any thread, an exception that
    the observer raises ends the training, and the state is saved.

    Args:
        corpus: a folder of recordings, a single file, or the output of `distill shard` as a folder or URL; or
            arrays, a tuple `(name, waveform, sample_rate)` per recording, with floats `[N]` or `[C, N]` from
            NumPy or torch and a full scale of 1. A `Recipe` or a path that ends in `.toml` is used as
            `recipe`. Default: the corpus of the recipe, or the demo corpus.
        loss: the names of the terms, comma-separated or as a sequence, which may also contain `TermSpec`
            objects for terms that are not installed. Default: the terms of the recipe.
        recipe: the recipe to start from: a `Recipe`, the path of a TOML file, or its content as a mapping.
        options: values by address, such as `"loss.stft.weight"`; `loss.` may be omitted.
        balance: the balancer, such as `"gradient"`. By default, weights are fixed factors.
        minutes: the duration of the training, by default 10. Set either this or `steps`.
        steps: the number of optimizer steps. Set either this or `minutes`.
        seed: the seed of weights, clips and noise.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"mps"`.
        out: the run folder to write. Default: a new folder in `runs/`.
        resume: continue the run in `out`. Its recipe is kept; only weights and, of `training`, `minutes`,
            `steps`, `device`, `keep`, `learning_rate`, `page`, `gradient_every`, `nonfinite`, `max_skipped`,
            `checkpoints`, `checkpoint_minutes` and `cuda_graphs` may change. A corpus of arrays and each
            `TermSpec` must be passed again.
        checkpoint: the checkpoint to continue from: `"best"` by held-out loss, `"last"`, or the step of one.
            Later checkpoints are removed, and their steps are repeated. Default: the last.
        accept_changes: continue although the recordings or the recipe have changed since the run was
            trained last. Recordings that were held out stay held out.
        observer: receives the reports of the run; see `Observer`.
        on_progress: called while recordings are decoded before the training and encoded after it.
        registry: where to look up terms and the balancer. Default: all installed ones.

    Returns:
        The run folder, which `distill.load` accepts.

    Raises:
        ConfigError: an option is unknown or its value is not valid.
        TermError: a term or the balancer is unknown, ambiguous or broken, or does not return a loss.
        CorpusError: the corpus does not exist, holds no usable audio, or is at a URL that only the recipe
            names.
        RunError: `out` is not empty, or is not a run that can be resumed; another process is training in it;
            something that was passed in Python must be passed again; or the folder cannot be written.
        InputError: the arguments contradict each other.
        TrainingError: the loss is not finite. The state before that step is saved.
        Interrupted: SIGINT, SIGTERM or SIGHUP was received. What there is of the run is saved.
    """
    on_progress = optional_callable(on_progress, culprit="on_progress")
    which = None if checkpoint is None else checkpoint_like(checkpoint, culprit="checkpoint")
    if (checkpoint is not None or accept_changes) and not resume:
        name = "accept_changes" if accept_changes else "checkpoint"
        raise InputError("only a resumed run has one: resume=True", culprit=name)
    given = _Corpus.of(corpus)
    if given.recipe is not None:
        if recipe is not None:
            raise InputError("a recipe is given twice, as the corpus and as the recipe")
        recipe = given.recipe
    with Signals() as signals, _reserved(out, given, resume=resume) as place:
        run = place.run
        prepared = False
        # An import that a signal breaks off may leave a module that cannot be imported again. A file that is
        # read may be a pipe that nobody writes to.
        with suppress(Stopped), signals.noting(), signals.cuttable():
            draft = _draft(
                run,
                given,
                recipe,
                registry or Registry(),
                loss=loss,
                balance=balance,
                training={"steps": steps, "minutes": minutes, "seed": seed, "device": device},
                options=options,
                resume=resume,
                accept_changes=accept_changes,
            )
            _require_recordings(draft, given, run, resume=resume)
            # Mistakes are found before the slow import of torch.
            from distill.training.audience import Audience  # noqa: PLC0415
            from distill.training.observing import require_observer  # noqa: PLC0415
            from distill.training.resuming import Resuming  # noqa: PLC0415
            from distill.training.session import carry_out  # noqa: PLC0415
            from distill.training.torch_state import isolated_torch_state  # noqa: PLC0415

            audience = Audience(observer=require_observer(observer), on_progress=on_progress)
            resuming = Resuming(checkpoint=which, accept_changes=accept_changes) if resume else None
            keep_freed_memory()
            prepared = True
        if not prepared:
            raise Stopped
        with naming_shortage(), isolated_torch_state():
            return carry_out(
                draft,
                run,
                resuming=resuming,
                audience=audience,
                signals=signals,
                arrays=given.arrays,
                lock=place.lock,
            )


@frozen(kw_only=True)
class _Corpus:
    """The parsed `corpus` argument: a path or URL in the form that recipes use, arrays, a recipe, or None."""

    path: str | None = None
    arrays: "tuple[NamedArray, ...] | None" = None
    recipe: Recipe | StrPath | None = None

    @classmethod
    def of(cls, corpus: "StrPath | Recipe | Iterable[NamedArray] | None") -> "_Corpus":
        if corpus is None:
            return cls()
        if isinstance(corpus, Recipe):
            return cls(recipe=corpus)
        if isinstance(corpus, str | os.PathLike):
            path = os.fspath(corpus)
            if path.endswith(".toml"):
                return cls(recipe=path)
            return cls(path=corpus_location(path))
        if isinstance(corpus, Mapping) or not isinstance(corpus, Iterable):
            raise InputError(
                f"a corpus is a path, a URL or arrays: got a {type(corpus).__name__}",
                culprit="corpus",
                remedy="Pass arrays as [(name, waveform, sample_rate), ...].",
            )
        return cls(path=ARRAYS, arrays=tuple(corpus))

    @property
    def name(self) -> str:
        """The name for a new run folder."""
        if self.arrays is not None:
            return "arrays"
        return folder_name(self.path)


@contextmanager
def _reserved(out: StrPath | None, given: _Corpus, *, resume: bool) -> Iterator[Reserved]:
    """Reserve the folder of the run. Started by torchrun, the main process reserves it for all."""
    if resume and out is None:
        raise InputError("resume needs out, the run folder to go on with", culprit="resume")
    run = None if out is None else Run(path_like(out, culprit="out", expected="a folder"))
    if "LOCAL_RANK" in os.environ and os.environ.get("RANK", "0") != "0":  # set by torchrun
        if run is not None and resume:
            run.require()
        yield Reserved(run or Run(RUNS / given.name))  # the main process tells which one it is
    elif run is None:
        with reserved_free(RUNS, given.name) as place:
            yield place
    else:
        with reserved(run, resume=resume) as place:
            yield place


def _draft(
    run: Run,
    given: _Corpus,
    recipe: Recipe | Mapping[str, Any] | StrPath | None,
    registry: Registry,
    *,
    loss: Terms | None,
    balance: str | None,
    training: Mapping[str, Any],
    options: Mapping[str, Any] | Iterable[tuple[str, Any]],
    resume: bool,
    accept_changes: bool,
) -> Draft:
    """Read the recipe of a new run, or of a run to resume, in which only a few options may change."""
    base = run.read_recipe() if resume else {}
    tree = recipe_tree(base if recipe is None else recipe)
    terms = None if loss is None else one_by_one(loss)
    specs = [term for term in terms or () if isinstance(term, TermSpec)]
    if isinstance(recipe, Recipe):
        specs += _specs_of(recipe)
    if any(training[name] is not None for name in ("steps", "minutes")):
        drop_length(tree)
    arguments = {"corpus.path": given.path, **{f"training.{name}": each for name, each in training.items()}}
    given_options = options_by_address(options, culprit="options")
    assignments = [*given_arguments(arguments), *as_given(given_options)]
    if resume:
        with run.naming_recipe():
            recorded = read_recipe(base, registry, specs=specs).recipe
    draft = read_recipe(tree, registry, loss=terms, balance=balance, assignments=assignments, specs=specs)
    if resume:
        require_same_options(draft, recorded, run, accept=accept_changes)
    if not any(each.address == "corpus.path" for each in assignments):
        require_no_url(draft.recipe.corpus.path, str(run.folder) if resume else "recipe")
    return _with_place(draft)


def _with_place(draft: Draft) -> Draft:
    """Return a draft with the absolute path of its corpus, so that it is found from any working folder."""
    path = draft.recipe.corpus.path
    if path is None or path == ARRAYS or is_url(path) or not path or "\0" in path:
        return draft
    corpus = evolve(draft.recipe.corpus, path=absolute(path))
    return evolve(draft, recipe=evolve(draft.recipe, corpus=corpus))


def _specs_of(recipe: Recipe) -> list[TermSpec]:
    """Return the specs of a recipe's terms, which need not be installed."""
    if isinstance(recipe.loss, Mapping):  # plain data, since a term of it was not there
        return []
    return [term.spec for term in terms_of(recipe.loss)]


def _require_still_there(path: str, run: Run) -> None:
    """Check that the corpus of a run to resume was not moved, renamed or removed.

    Raises:
        CorpusError: it was.
    """
    if not is_url(path) and not Path(path).exists():
        raise CorpusError(
            "the corpus of the run is no longer there",
            culprit=path,
            remedy="Pass the folder where it is now. Its recordings are compared by their digests: "
            f"distill train FOLDER --resume --out {quote(str(run.folder))}",
        )


def _require_recordings(draft: Draft, given: _Corpus, run: Run, *, resume: bool) -> None:
    """Check that the corpus of the recipe is there, or its arrays are if it was passed as arrays.

    Raises:
        RunError: the arrays are missing.
        CorpusError: there is no such file or folder, or it cannot be read.
    """
    if given.arrays is not None:
        return
    path = draft.recipe.corpus.path
    if path is not None and path != ARRAYS and resume and given.path is None:
        _require_still_there(path, run)
    if path != ARRAYS:
        require_corpus(path)
        return
    held = ""
    if resume and run.split.exists():
        with suppress(OSError, ValueError, TypeError, KeyError, RecursionError):  # a damaged file
            split = json.loads(run.split.read_bytes())
            names = [str(member["name"]) for member in (*split["train"], *split["heldout"])]
            held = f": {shortened(names)}"
    raise RunError(
        f"its corpus was given as arrays, in Python, and is missing{held}",
        culprit=str(run.folder) if resume else "recipe",
        remedy="Pass them again, in Python: distill.train([(name, waveform, sample_rate), ...], "
        "resume=True, out=...)"
        if resume
        else "Use another corpus: distill train CORPUS --config FILE",
    )

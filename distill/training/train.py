"""`distill.train`: train from Python with the words of the command line, which calls it, too."""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import frozen

from distill.config import load_toml, unstructure
from distill.errors import ConfigError, InputError, RunError
from distill.loss.config import terms_of
from distill.plugin.hookspecs import TermSpec
from distill.plugin.registry import Registry
from distill.recipe import Draft, Recipe, Terms, differences, listed, read_recipe
from distill.settings import ARRAYS
from distill.storage.run import Run, free_run
from distill.training.memory import keep_freed_memory

if TYPE_CHECKING:
    from distill.audio.corpus import NamedArray
    from distill.audio.progress import Progress
    from distill.training.observing import Observer

StrPath: TypeAlias = str | os.PathLike[str]

_RUNS = Path("runs")
_SHOWN = 5


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
    observer: "Observer | None" = None,
    on_progress: "Callable[[Progress], None] | None" = None,
    registry: Registry | None = None,
) -> Run:
    """Train a VAE on recordings, and return the run folder.

        run = distill.train("my-sounds", loss="stft,recon,kl", minutes=15, out="runs/first",
                            options={"loss.stft.weight": 2.0})

    It does what `distill train` does, and prints nothing. It can be called several times in a process, and in
    any thread.

    SIGINT (Ctrl-C) and SIGTERM end the training at the end of a step: it saves itself, and `Interrupted`, a
    `KeyboardInterrupt`, is raised. Python gives signals to the main thread alone; in another thread, or
    anywhere, an observer that raises ends the training, which saves itself then, too. A second signal, and
    one before the first step or after the last, raises `KeyboardInterrupt` at once.

    Args:
        corpus: a folder of recordings, a single one, or what `distill shard` wrote, as a folder or a URL; or
            arrays, `(name, waveform, sample_rate)` for each recording, with floats `[N]` or `[C, N]` of NumPy
            or torch, 1 being full scale. A `Recipe` or a path that ends in `.toml` is taken as `recipe`. By
            default the corpus is that of the recipe, or the demo corpus.
        loss: terms by name, comma-separated or one by one. A `TermSpec` among them is a term that is not
            installed. By default they are those of the recipe.
        recipe: what to start from: a `Recipe`, the path of a TOML file, or its content as plain data.
        options: values by their address, such as `"loss.stft.weight"`; `loss.` may be left out.
        balance: the balancer, such as `"gradient"`; by default weights are fixed factors.
        minutes: how long to train, 10 by default; set this or `steps`.
        steps: the number of optimizer steps; set this or `minutes`.
        seed: the seed of weights, clips and noise.
        device: `"auto"`, `"cpu"`, `"cuda"` or `"mps"`.
        out: the run folder to write; by default a new one below `runs/`.
        resume: go on with the run in `out`. It keeps its recipe; `minutes`, `steps`, `device`, weights and
            `training.keep` may change. A corpus of arrays, and each `TermSpec`, must be given again.
        observer: is told what happens. See `Observer`.
        on_progress: is called while recordings are decoded before the training and encoded after it.
        registry: where to look terms and balancer up; by default everything that is installed.

    Returns:
        The run folder, which `distill.load` takes.

    Raises:
        ConfigError: options that are unknown or do not fit.
        TermError: a term or the balancer is unknown, ambiguous or broken, or returns something else than a
            loss.
        CorpusError: the corpus is not there, or holds nothing that can be used.
        RunError: `out` holds something else already or, to be resumed, no run; it lacks what was given in
            Python; or it cannot be written.
        InputError: arguments that do not belong together.
        TrainingError: the loss is not finite. The state before is saved.
        Interrupted: SIGINT or SIGTERM came. The state is saved.
    """
    given = _Corpus.of(corpus)
    if given.recipe is not None:
        if recipe is not None:
            raise InputError("a recipe is given twice, as the corpus and as the recipe")
        recipe = given.recipe
    run = _run_folder(out, given, resume=resume)
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
    )
    _require_arrays(draft, given, run, resume=resume)
    # What is wrong with a recipe is told at once: torch is loaded after it is read.
    from distill.training.observing import require_observer  # noqa: PLC0415
    from distill.training.session import Audience, carry_out  # noqa: PLC0415

    audience = Audience(observer=require_observer(observer), on_progress=on_progress)
    keep_freed_memory()
    carry_out(draft, run, resume=resume, audience=audience, arrays=given.arrays)
    return run


@frozen(kw_only=True)
class _Corpus:
    """What was given as the corpus: a path or URL as a recipe keeps it, arrays, a recipe, or nothing."""

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
            return cls(path=path if "://" in path else str(Path(path).expanduser().resolve()))
        if isinstance(corpus, Mapping) or not isinstance(corpus, Iterable):
            raise InputError(
                f"a corpus is a path, a URL or arrays: got a {type(corpus).__name__}",
                culprit="corpus",
                remedy="Give arrays as [(name, waveform, sample_rate), ...].",
            )
        return cls(path=ARRAYS, arrays=tuple(corpus))

    @property
    def name(self) -> str:
        """What a run folder is called after."""
        if self.arrays is not None:
            return "arrays"
        return Path(self.path).stem if self.path else "demo"


def _run_folder(out: StrPath | None, given: _Corpus, *, resume: bool) -> Run:
    if resume:
        if out is None:
            raise InputError("resume needs out, the run folder to go on with", culprit="resume")
        run = Run(Path(out))
        run.require()
        return run
    run = Run(Path(out)) if out is not None else free_run(_RUNS, given.name)
    run.require_new()
    return run


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
) -> Draft:
    """Read the recipe of a new run, or that of a run to go on with, of which little may change."""
    base = run.read_recipe() if resume else {}
    tree = deepcopy(base) if recipe is None else _tree(recipe)
    terms = None if loss is None else listed(loss)
    specs = [term for term in terms or () if isinstance(term, TermSpec)]
    if isinstance(recipe, Recipe):
        specs += _specs_of(recipe)
    assignments: list[tuple[str, Any]] = [] if given.path is None else [("corpus.path", given.path)]
    values = {name: value for name, value in training.items() if value is not None}
    if {"steps", "minutes"} & values.keys() and isinstance(tree.get("training"), dict):
        # Whatever the recipe says of the other one no longer holds.
        for name in ("steps", "minutes"):
            tree["training"].pop(name, None)
    assignments += [(f"training.{name}", value) for name, value in values.items()]
    assignments += options.items() if isinstance(options, Mapping) else options
    draft = read_recipe(tree, registry, loss=terms, balance=balance, assignments=assignments, specs=specs)
    if resume:
        _require_same(draft, read_recipe(base, registry, specs=specs).recipe, run)
    return draft


def _tree(recipe: Recipe | Mapping[str, Any] | StrPath) -> dict[str, Any]:
    """Return a recipe as plain data, to be changed."""
    if isinstance(recipe, Recipe):
        return unstructure(recipe)
    if isinstance(recipe, Mapping):
        return deepcopy(dict(recipe))
    return load_toml(Path(recipe).expanduser())


def _specs_of(recipe: Recipe) -> list[TermSpec]:
    """Return the specs of a recipe's terms, which need not be installed."""
    return [term.spec for term in terms_of(recipe.loss)]


def _require_same(draft: Draft, recorded: Recipe, run: Run) -> None:
    """Check that a resumed run keeps its recipe, apart from what may change.

    Raises:
        ConfigError: it does not.
    """
    may_change = {f"training.{name}" for name in ("steps", "minutes", "device", "keep")}
    may_change |= {f"loss.{term.name}.{term.spec.config.weight_option}" for term in draft.terms}
    changed = [path for path in differences(draft.recipe, recorded) if path not in may_change]
    if changed:
        raise ConfigError(
            f"a resumed run keeps its recipe, and this differs: {', '.join(changed)}",
            culprit=str(run.folder),
            remedy="Leave it out, or start a new run. "
            "The steps, minutes, device, weights and training.keep may change.",
        )


def _require_arrays(draft: Draft, given: _Corpus, run: Run, *, resume: bool) -> None:
    """Check that the arrays are there which a recipe says its corpus was.

    Raises:
        RunError: they are not.
    """
    if draft.recipe.corpus.path != ARRAYS or given.arrays is not None:
        return
    held = ""
    if resume and run.split.exists():
        split = json.loads(run.split.read_bytes())
        names = [member["name"] for member in (*split["train"], *split["heldout"])]
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        held = f": {', '.join(names[:_SHOWN])}{more}"
    raise RunError(
        f"its corpus was given as arrays, in Python, and is missing{held}",
        culprit=str(run.folder) if resume else "recipe",
        remedy="Give them again, in Python: distill.train([(name, waveform, sample_rate), ...], "
        "resume=True, out=...)"
        if resume
        else "Give another corpus: distill train CORPUS --config FILE",
    )

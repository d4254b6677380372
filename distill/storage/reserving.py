"""Run folders that a training run is going to write to: chosen, and locked for it alone. Loads no torch."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from attrs import frozen

from distill.errors import RunError
from distill.storage.files import place_of, remedy_of
from distill.storage.locking import Held, locked
from distill.storage.run import Run, free_run


@frozen
class Reserved:
    """A run folder, and its lock if this process is the one that writes to it."""

    run: Run
    lock: Held | None = None


@contextmanager
def reserved(run: Run, *, resume: bool) -> Iterator[Reserved]:
    """Reserve a run folder for one training run, before anything is decoded or written.

    A new folder is created. If the run fails before it has anything to be resumed from, its files are removed
    again, so that the same command can be repeated.

    Raises:
        LockError: another process or thread is writing to the folder.
        RunError: the folder is not a run to resume, or holds a run or other files already; it contains links
            out of it; or it cannot be written.
    """
    (run.require if resume else run.require_new)()
    with _removed_after_an_error(run.folder), _locked(run, resume=resume) as lock:
        yield Reserved(run, lock)


@contextmanager
def reserved_free(parent: Path, name: str) -> Iterator[Reserved]:
    """Reserve the new run folder `parent/name`, or the first free one of `name-2`, `name-3`, ...

    Raises:
        RunError: the folder cannot be written.
    """
    with _removed_after_an_error(parent):
        with _as_run_errors(parent):
            run = free_run(parent, name)
        with _removed_after_an_error(run.folder, made=[run.folder]), _locked(run, resume=False) as lock:
            yield Reserved(run, lock)


@contextmanager
def _locked(run: Run, *, resume: bool) -> Iterator[Held]:
    """Create a run folder if necessary, and lock it."""
    remedy = "Wait until it has ended, or choose another folder with --out."
    with ExitStack() as stack:
        with _as_run_errors(run.folder):
            run.folder.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(locked(run.folder, doing="is training in it", remedy=remedy))
        (run.require if resume else run.require_new)()  # again, since another process may have ended just now
        run.require_no_links_out()
        run.sweep()
        try:
            yield lock
        except Exception:  # not a signal, after which a run can be resumed in any case
            if not resume and lock.is_ours():
                run.discard_unbegun()
            raise


@contextmanager
def _removed_after_an_error(folder: Path, made: Sequence[Path] = ()) -> Iterator[None]:
    """After an error, remove those of a folder and its parents that did not exist before and are empty."""
    made = [*made, *(path for path in (folder, *folder.parents) if not path.exists())]
    try:
        yield
    except BaseException:
        with suppress(OSError):
            for path in made:
                path.rmdir()
        raise


@contextmanager
def _as_run_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problem = f"the run folder cannot be written: {error.strerror or error}"
        raise RunError(problem, culprit=place_of(error, folder), remedy=remedy_of(error)) from error

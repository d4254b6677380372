"""The runs of an ablation, trained one after the other or side by side until all are done or have failed."""

from collections.abc import Callable, Iterable, Mapping

from distill.ablation.pools import Pool
from distill.ablation.progress import Status, Watch

_SECONDS = 1.0
"""Between two looks at the runs in progress."""


def train_all(
    names: Iterable[str], pool: Pool, watch: Watch, tell: Callable[[Status], None]
) -> Mapping[str, str]:
    """Train and measure runs in a pool, and return the messages of those that have failed.

    A run that fails does not stop the others. Whatever stops this function stops the runs, which are saved.
    """
    waiting = list(names)
    try:
        tell(watch.status())
        active: set[str] = set()
        while waiting or active:
            while waiting and pool.free:
                name = waiting.pop(0)
                active.add(name)
                watch.begin(name)
                pool.start(name)
            tell(watch.status())
            for done in pool.wait(_SECONDS):
                active.discard(done.name)
                watch.end(done.name, done.failure)
                tell(watch.status(done.name))
    finally:
        pool.stop()
    return dict(watch.failed)

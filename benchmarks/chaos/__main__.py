"""Chaos: training runs that are killed, stopped, and run on full disks, and then resumed and compared.

Run: python benchmarks/chaos --kills 200 [--seed 0] [--only NAME] [--variant NAME] [--keep FOLDER]
[--tables FILE], on Linux.
Root and strace add faults. Runs train on a folder, on shards, from the model of another run, or in two
processes as torchrun begins them. After each fault, the run is resumed, in one of four cases after a second
fault, and must equal a run that was never stopped: weights bit by bit, and every record.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from random import Random

from comparing import Results
from faults import SEVERAL, Fault, Outcome, Scene, available, measure
from training import Variant, write_variants

from distill.storage.run import Run

_SECOND_FAULTS = 0.25
_ON_A_FOLDER = 0.4


@dataclass
class Kind:
    """A variant of a run, a scene of it whose duration and system calls are known, and its results."""

    scene: Scene
    straight: Results

    @classmethod
    def measured(cls, folder: Path, variant: Variant, random: Random, *, calls: bool) -> "Kind":
        """Train a run that is never stopped."""
        scene = Scene(folder=folder, variant=variant, random=random)
        scene.folder.mkdir()
        measure(scene, calls=calls and variant.processes == 1)
        made = f"{len(scene.calls)} calls that write" if scene.calls else "none that are traced"
        print(f"{variant.name}: a run takes {scene.seconds:.1f} s and makes {made}.", flush=True)
        return cls(scene, Results(Run(scene.folder / "run")))


def attempt(scene: Scene, faults: dict[str, Fault], name: str, straight: Results) -> tuple[int, list[str]]:
    """Train under a fault and go on; return how many faults hit, and the problems."""
    several = scene.variant.processes > 1
    possible = [each for each in faults if not several or each in SEVERAL]
    second = scene.random.random() < _SECOND_FAULTS
    names = [name, scene.random.choice(possible)] if second else [name]
    hits, problems, said = 0, [], f"{scene.variant.name}: {' + '.join(names)}"
    for each in names:
        outcome = faults[each](scene)
        hits += outcome.hit
        problems += [f"{each}: {problem}" for problem in _problems(outcome)]
    last = scene.begin()
    status = last.wait()
    if status != 0:
        return hits, [*problems, f"{said}: resuming ended with {status}:\n{last.errors}"]
    try:
        found = Results(last.run).differences(straight)
    except Exception as error:  # noqa: BLE001  # whatever is wrong with the folder is a finding
        found = [f"{type(error).__name__}: {error}"]
    return hits, [*problems, *(f"{said}: {each} differs" for each in found)]


def _problems(outcome: Outcome) -> list[str]:
    """Return what a run should not have done under a fault."""
    errors = outcome.training.errors
    found = [f"{outcome.problem}:\n{errors}"] if outcome.problem else []
    found += [f"it hangs:\n{errors}"] if outcome.status is None else []
    found += [f"it ended in a traceback:\n{errors}"] if "Traceback" in errors else []
    return found


def _choose(kinds: dict[str, Kind], fault: str, random: Random) -> Kind:
    """Choose a variant for a fault: in half of the cases the folder."""
    others = [kind for kind in kinds.values() if kind.scene.variant.processes == 1 or fault in SEVERAL]
    if "folder" in kinds and random.random() < _ON_A_FOLDER:
        return kinds["folder"]
    return random.choice(others)


class Tally:
    """The runs, the faults that hit and the runs that differ, by fault and by variant."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._counters = {
            head: (Counter[str](), Counter[str](), Counter[str]()) for head in ("fault", "variant")
        }
        self.runs = self.hits = self.wrong = 0

    def add(self, fault: str, variant: str, hits: int, *, wrong: bool) -> None:
        """Count a run."""
        self.runs, self.hits, self.wrong = self.runs + 1, self.hits + hits, self.wrong + wrong
        for (tried, hit, failed), counted in zip(self._counters.values(), (fault, variant), strict=True):
            tried[counted] += 1
            hit[counted] += hits
            failed[counted] += wrong

    def __str__(self) -> str:
        lines = []
        for head, (tried, hits, failed) in self._counters.items():
            lines += [f"\n| {head:37} | runs | faults that hit | survived |", "|---|---|---|---|"]
            lines += [
                f"| {kind:37} | {tried[kind]:4} | {hits[kind]:15} | {tried[kind] - failed[kind]:8} |"
                for kind in tried
            ]
        seconds = time.monotonic() - self._began
        lines += [f"\n{self.runs} runs, {self.hits} faults that hit, in {seconds:.0f} s."]
        lines += [f"{self.runs - self.wrong} runs are equal to one that was never stopped."]
        return "\n".join(lines)


def main() -> None:
    """Print a table of faults and one of variants, and what went wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--variant", help="folder, shards, start or two processes; all if none is given")
    parser.add_argument("--keep", type=Path, help="where to keep the folders of runs that differ")
    parser.add_argument("--tables", type=Path, help="a file that holds the tables so far after each run")
    options = parser.parse_args()
    faults = {name: fault for name, fault in available().items() if options.only in name}
    if options.variant == "two processes":
        faults = {name: fault for name, fault in faults.items() if name in SEVERAL}
    tally, random = Tally(), Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        work = Path(name)
        work.chmod(0o755)
        variants = write_variants(work, options.variant)
        calls = any("system call" in name for name in faults)
        kinds = {
            variant.name: Kind.measured(work / f"straight-{variant.name}", variant, random, calls=calls)
            for variant in variants.values()
        }
        with suppress(KeyboardInterrupt):  # the table is of the runs until then
            for fault in cycle(faults):
                if tally.hits >= options.kills:
                    break
                kind = _choose(kinds, fault, random)
                scene = replace(kind.scene, folder=work / str(tally.runs))
                scene.folder.mkdir()
                count, problems = attempt(scene, faults, fault, kind.straight)
                tally.add(fault, scene.variant.name, count, wrong=bool(problems))
                if options.tables:
                    options.tables.write_text(f"{tally}\n")
                for problem in problems:
                    print(f"run {scene.folder.name}: {problem}", flush=True)
                if problems and options.keep:
                    shutil.copytree(scene.folder, options.keep / scene.folder.name, dirs_exist_ok=True)
                shutil.rmtree(scene.folder)
    print(tally)
    sys.exit(1 if tally.wrong else 0)


if __name__ == "__main__":
    main()

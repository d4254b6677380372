"""Chaos: training runs that are killed, stopped, and run on full disks, and then resumed and compared.

Run: python benchmarks/chaos --kills 200 [--seed 0] [--only NAME] [--keep FOLDER], on Linux. Root and strace
add faults. After each fault, the run is resumed, in one of four cases after a second fault, and must equal a
run that was never stopped: weights bit by bit, and every record.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from random import Random

from comparing import Results
from faults import Fault, Outcome, Scene, available, measure
from training import write_corpus

from distill.storage.run import Run

_SECOND_FAULTS = 0.25


def attempt(scene: Scene, faults: dict[str, Fault], name: str, straight: Results) -> tuple[int, list[str]]:
    """Train under a fault and go on; return how many faults hit, and the problems."""
    second = scene.random.random() < _SECOND_FAULTS
    names = [name, scene.random.choice([*faults])] if second else [name]
    hits, problems, said = 0, [], " + ".join(names)
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
    found = [outcome.problem] if outcome.problem else []
    found += ["it hangs"] if outcome.status is None else []
    found += [f"it ended in a traceback:\n{errors}"] if "Traceback" in errors else []
    return found


def main() -> None:
    """Print a table of faults, and what went wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--keep", type=Path, help="where to keep the folders of runs that differ")
    options = parser.parse_args()
    faults = {name: fault for name, fault in available().items() if options.only in name}
    began, random = time.monotonic(), Random(options.seed)
    tried, hits, failed = Counter[str](), Counter[str](), Counter[str]()
    with tempfile.TemporaryDirectory(prefix="chaos-") as name:
        work = Path(name)
        work.chmod(0o755)
        write_corpus(work / "corpus")
        scene = Scene(folder=work / "straight", corpus=work / "corpus", random=random)
        scene.folder.mkdir()
        measure(scene, calls=any("system call" in name for name in faults))
        straight = Results(Run(scene.folder / "run"))
        calls = len(scene.calls)
        print(f"A run takes {scene.seconds:.1f} s and makes {calls} calls that write.", flush=True)
        kinds = cycle(faults)
        while hits.total() < options.kills:
            kind = next(kinds)
            scene = replace(scene, folder=work / str(tried.total()))
            scene.folder.mkdir()
            count, problems = attempt(scene, faults, kind, straight)
            tried[kind] += 1
            hits[kind] += count
            failed[kind] += bool(problems)
            for problem in problems:
                print(f"run {scene.folder.name}: {problem}", flush=True)
            if problems and options.keep:
                shutil.copytree(scene.folder, options.keep / scene.folder.name, dirs_exist_ok=True)
            shutil.rmtree(scene.folder)
    print(f"\n| {'fault':37} | runs | faults that hit | survived |\n|---|---|---|---|")
    for kind in faults:
        print(f"| {kind:37} | {tried[kind]:4} | {hits[kind]:15} | {tried[kind] - failed[kind]:8} |")
    survived = tried.total() - failed.total()
    seconds = time.monotonic() - began
    print(f"\n{tried.total()} runs, {hits.total()} faults that hit, in {seconds:.0f} s.")
    print(f"{survived} runs are equal to one that was never stopped.")
    sys.exit(1 if failed.total() else 0)


if __name__ == "__main__":
    main()

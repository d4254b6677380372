"""Measure what many recordings cost: the pages of a run and of a comparison, and the tables of `evaluate`.

Run: python benchmarks/many_recordings.py [--recordings 10000] [--evaluated 1000]

Short sounds are written to a temporary folder, and two tiny models are trained on them for two steps each,
with half of the recordings held out. The measures of the held-out recordings, which take hours with real
models, are copied from one that is measured. Each command runs in a process of its own, whose CPU time and
peak memory are printed, with the size of what it writes; the pages are opened five times in Chromium, as in
report_page.py.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import click
import numpy as np
import soundfile
from attrs import evolve
from playwright.sync_api import sync_playwright
from report_page import open_times

import distill
from distill.audio.corpus.membership import Membership
from distill.comparison.measures import heldout_measures
from distill.storage.run import Run

RATE, SECONDS = 8000, 0.1
TINY = {
    "representation.sample_rate": RATE, "representation.n_fft": 256, "representation.hop": 64,
    "model.latents_per_second": 250, "model.width": 16, "model.fine_width": 8, "model.expansion": 2,
    "model.encoder_blocks": [1, 1], "model.decoder_blocks": [1, 1], "training.precision": "float32",
    "training.batch_size": 2, "training.clip_seconds": 0.1, "training.log_every": 1, "training.page": False,
    "training.keep": 1.0, "training.device": "cpu", "corpus.heldout_fraction": 0.5,
}  # fmt: skip


def write_corpus(folder: Path, count: int) -> None:
    """Write so many short sounds of different pitches, in folders of a hundred."""
    time = np.arange(round(SECONDS * RATE)) / RATE
    for number in range(count):
        path = folder / f"pack {number // 100}" / f"sound {number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        pitch = 60 * 2 ** (5 * number / count)
        soundfile.write(path, 0.5 * np.sin(2 * np.pi * pitch * time) * np.exp(-20 * time), RATE)


def measure_all(run: Run, count: int) -> None:
    """Give the held-out recordings of a run the measures of one of them, each changed a little."""
    split = Membership.read(run.split)
    whole = run.split.read_bytes()
    evolve(split, heldout=split.heldout[:1]).write(run.split)
    heldout_measures(run)
    run.split.write_bytes(whole)
    kept = json.loads(run.measures.read_text())
    (one,) = kept["recordings"].values()
    generator = np.random.default_rng(count)
    for member in split.heldout:
        metrics = {
            name: value * generator.uniform(0.9, 1.1) if isinstance(value, float) else value
            for name, value in one["metrics"].items()
        }
        kept["recordings"][member.digest] = {"metrics": metrics, "left_out": ""}
    run.measures.write_text(json.dumps(kept))


def timed(*words: object) -> str:
    """Run a command of Distill, and return its CPU time and peak memory in words."""
    command = [sys.executable, "-m", "distill", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise click.ClickException(f"distill {words[0]} has failed")
    return f"{usage.ru_utime + usage.ru_stime:.1f} s of CPU time, {usage.ru_maxrss / 1024:.0f} MiB"


def silent_size(page: Path) -> float:
    """Return the size of a page without its sounds, in MB."""
    text = page.read_text(encoding="utf-8")
    data = json.loads(text.split('<script type="application/json" id="data">')[1].split("</script>")[0])
    sounds = [data["sounds"], data.get("points", [])]
    return (len(text.encode()) - len(json.dumps(sounds, separators=(",", ":")))) / 1e6


@click.command()
@click.option("--recordings", type=int, default=10_000, show_default=True)
@click.option("--evaluated", type=int, default=1000, show_default=True)
def main(recordings: int, evaluated: int) -> None:
    """Write the runs, and measure."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        write_corpus(folder / "sounds", recordings)
        few = folder / "few"
        write_corpus(few, evaluated)
        runs = []
        for loss in ("stft,recon,kl", "recon,kl"):
            out = folder / loss.replace(",", "-")
            distill.train(folder / "sounds", loss=loss, steps=2, out=out, options=TINY)
            runs.append(Run(out))
            measure_all(runs[-1], len(runs))
        print(f"{recordings} recordings, half of them held out:")
        page = folder / "comparison.html"
        chromium = shutil.which("chromium") or shutil.which("google-chrome")
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for what, words, made in (
            ("report", ("report", runs[0].folder), runs[0].page),
            ("compare", ("compare", *(run.folder for run in runs), "--out", page), page),
        ):
            cost = timed(*words)
            loaded, drawn = map(median, zip(*open_times(browser, made, 5), strict=True))
            size = f"{made.stat().st_size / 1e6:.1f} MB, {silent_size(made):.1f} MB of it without sounds"
            print(f"{what}: {cost}; {size}; opens in {loaded:.2f} s, first plots after {drawn:.2f} s")
        browser.close()
        table = folder / "table.csv"
        words = ("evaluate", runs[0].folder, few, "--no-visqol", "--csv", table, "--json")
        print(f"evaluate of {evaluated} recordings: {timed(*words)}; CSV {table.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()

"""Fuzz the readers of recipes, run folders and shards, guided by coverage, with atheris.

    pip install atheris
    python benchmarks/fuzz.py recipe -max_total_time=600
    python benchmarks/fuzz.py run -max_total_time=600
    python benchmarks/fuzz.py shards -max_total_time=600

Each input is read, or refused with a `DistillError`. Anything else, more than 2 GB of memory, or more than 20
seconds, ends the run, and leaves the input in a file. Valid files are made first, to be varied.

Of a run folder, the first byte of the input chooses the file that the rest replaces, and what reads this file
is called. For files of tensors, the rest is their structure, and for shards it is the list or the tar file:
their lengths and checksums are made to fit, so that what is behind them is reached.
"""

import json
import os
import sys
import tempfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["distill"]):
    import distill
    from distill.audio.corpus import open_shards, write_shards
    from distill.audio.corpus.membership import Membership
    from distill.config import load_toml
    from distill.controls.stored import _from_state, axes_of, checksum_of, stored_axes
    from distill.errors import DistillError
    from distill.evaluation.baselines import load_statistics
    from distill.model.loading import load_latents, load_model
    from distill.playing.presets import load_presets, save_preset
    from distill.playing.sound import Recording as SoundOf
    from distill.playing.sound import Sound
    from distill.plugin.registry import Registry
    from distill.recipe import read_recipe
    from distill.reporting.facts import Facts
    from distill.reporting.figures import colours_of, component_figures, setting_figures
    from distill.reporting.history import History
    from distill.reporting.listing import list_runs, sorted_runs
    from distill.reporting.page import evidence_of
    from distill.reporting.verdict import judge
    from distill.storage import checkpoints
    from distill.storage.checkpoints import load_state
    from distill.storage.ending import ending_of
    from distill.training.resuming import Resuming

import numpy as np
import soundfile
from safetensors.torch import load_file, save

_RATE = 8000
_TINY = {
    "representation.sample_rate": _RATE,
    "representation.n_fft": 128,
    "representation.hop": 32,
    "model.latents_per_second": 500,
    "model.width": 8,
    "model.fine_width": 8,
    "model.expansion": 1,
    "model.encoder_blocks": [0, 1],
    "model.decoder_blocks": [0, 1],
    "training.batch_size": 2,
    "training.clip_seconds": 0.2,
    "training.device": "cpu",
    "training.pairs": 0,
}
_WORDS = (
    *(
        "weight",
        "loss",
        "stft",
        "kl",
        "model",
        "width",
        "training",
        "corpus",
        "path",
        "provenance",
        "schedule",
    ),
    *(
        "dict",
        "tensor",
        "tuple",
        "float",
        "latents",
        "coherence",
        "NaN",
        "Infinity",
        "-1",
        "18446744073709551616",
    ),
    *("sample_rate", "train", "heldout", "name", "bytes", "pieces", "frames", "samples", "../", "\\x00"),
)

here = Path(tempfile.mkdtemp(prefix="fuzz-"))


def make_sounds() -> Path:
    """Write three short recordings."""
    sounds = here / "sounds"
    sounds.mkdir()
    for number in range(3):
        tone = 0.5 * np.sin(np.arange(_RATE // 2) * (number + 1) / 10)
        soundfile.write(sounds / f"{number}.wav", np.stack([tone, tone / 2]).T[:, : 1 + number % 2], _RATE)
    return sounds


class Recipes:
    """Recipes as files."""

    def __init__(self) -> None:
        self.registry, self.path = Registry(), here / "recipe.toml"
        self.seeds = [
            read_recipe({}, self.registry, loss=loss).recipe.to_toml().encode()
            for loss in (None, "stft,recon,kl", "mel,adversarial")
        ]

    def read(self, data: bytes) -> None:
        """Read the input as a recipe."""
        self.path.write_bytes(data)
        read_recipe(load_toml(self.path), self.registry)


class Runs:
    """Run folders of which one file is the input."""

    def __init__(self) -> None:
        self.run = distill.train(make_sounds(), steps=2, out=here / "run", options=_TINY)
        vae, representation = load_model(self.run)
        load, bank = partial(load_model, self.run), load_latents(self.run, representation, vae)
        axes_of(self.run, vae, representation, bank)
        checksum = checksum_of(vae, bank)

        def read_axes() -> None:
            with suppress(ValueError):  # after which they are measured again
                _from_state(load_state(self.run.axes), checksum, vae)

        states = {
            self.run.model: (load, partial(load_state, self.run.model)),
            self.run.latents: (partial(load_latents, self.run, representation, vae),),
            self.run.axes: (partial(stored_axes, self.run), read_axes),
            self.run.baselines: (partial(load_statistics, self.run, representation.bins),),
            **dict.fromkeys(
                self.run.checkpoints.glob("step*"),
                (partial(load, "last"), partial(Resuming().find_state, self.run, lambda _: None)),
            ),
        }
        self.readers = {
            self.run.recipe: (load, self.list),
            self.run.metrics: (lambda: [*self.run.read_metrics()], self.rewind, self.list, self.judge),
            self.run.outcome: (self.list, self.judge),
            self.run.presets: (partial(load_presets, self.run),),
            self.run.split: (partial(Membership.read, self.run.split),),
            **states,
        }
        self.states = [*states]
        save_preset(self.run, "one", Sound(source=SoundOf(name="0.wav"), seconds=0.5))
        self.whole = {path: path.read_bytes() for path in self.readers}
        self.tensors = {path: load_file(path) for path in self.states}
        self.seeds = []
        for number, path in enumerate(self.whole):
            content = self.whole[path]
            if path in self.states:
                header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
                content = header["__metadata__"]["distill_state"].encode()
            self.seeds.append(bytes([number]) + content)

    def rewind(self) -> None:
        """Drop the records of the last step, as a run that is resumed does."""
        copy = self.run.rewind_metrics({"train": 1}, 1)
        if copy is not None:
            copy.unlink()

    def list(self) -> None:
        """List the run, as `distill runs` does."""
        for order in ("newest", "loss"):
            for listed in sorted_runs(list_runs(self.run.folder), order):
                json.dumps([listed.to_dict(), listed.cells()])

    def judge(self) -> None:
        """Judge the run by its records, and draw them, as its page does."""
        history = History.read(self.run)
        facts = Facts(run=self.run, ending=ending_of(self.run), history=history, terms={}, recipe="", tree={})
        judge(evidence_of(facts))
        colours = colours_of([*history.weights])
        component_figures(history, colours)
        setting_figures(history, colours)

    def read(self, data: bytes) -> None:
        """Replace a file by the input, and read the folder as the commands do."""
        if not data:
            return
        path = [*self.whole][data[0] % len(self.whole)]
        content = data[1:]
        if path in self.states:
            text = content.decode(errors="replace")
            content = b"".join(checkpoints.sealed(save(self.tensors[path], {"distill_state": text})))
        path.write_bytes(content)
        try:
            for read in self.readers[path]:
                quietly(read)
        finally:
            path.write_bytes(self.whole[path])


class Shards:
    """Shards of which the list or a tar file is the input."""

    def __init__(self) -> None:
        self.folder = here / "shards"
        write_shards(make_sounds(), self.folder, sample_rate=_RATE, heldout_fraction=0.0, minutes=1)
        self.list, (self.tar,) = self.folder / "shards.json", self.folder.glob("*.tar")
        self.whole = self.list.read_bytes(), self.tar.read_bytes()
        self.seeds = [b"\0" + self.whole[0], b"\1" + self.whole[1]]

    def read(self, data: bytes) -> None:
        """Replace the list or the tar file by the input, and read all recordings."""
        listed, tar = self.whole
        if data[:1] == b"\1":
            tar = data[1:]
            tree = json.loads(listed)
            tree["train"][0]["bytes"] = max(1, len(tar))
            listed = json.dumps(tree).encode()
        else:
            listed = data[1:]
        self.list.write_bytes(listed)
        self.tar.write_bytes(tar)
        corpus = open_shards(str(self.folder), sample_rate=_RATE, pool_shards=1)
        for recording in corpus.train.recordings:
            corpus.train.read(recording)


def quietly(read: object) -> None:
    """Call a function that may refuse what it reads."""
    try:
        read()
    except DistillError:
        return


def main() -> None:
    """Fuzz one reader."""
    os.environ["XDG_STATE_HOME"] = str(here)
    targets: dict[str, type[Recipes | Runs | Shards]] = {"recipe": Recipes, "run": Runs, "shards": Shards}
    target = targets[sys.argv.pop(1)]()
    seeds = here / "seeds"
    seeds.mkdir()
    for number, seed in enumerate(target.seeds):
        (seeds / str(number)).write_bytes(seed)
    words = here / "words"
    words.write_text("".join(f'"{word}"\n' for word in _WORDS))
    options = [f"-dict={words}", "-rss_limit_mb=4096", "-timeout=20", "-max_len=65536", *sys.argv[1:]]
    atheris.Setup([sys.argv[0], *options, str(seeds)], lambda data: quietly(lambda: target.read(data)))
    atheris.Fuzz()


if __name__ == "__main__":
    main()

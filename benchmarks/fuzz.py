"""Fuzz the readers of recipes, run folders and shards, guided by coverage, with atheris.

    pip install atheris
    python benchmarks/fuzz.py recipe -max_total_time=600
    python benchmarks/fuzz.py run -max_total_time=600
    python benchmarks/fuzz.py shards -max_total_time=600

Each input is read, or refused with a `DistillError`. Anything else, more than 2 GB of memory, or more than 20
seconds, ends the run, and leaves the input in a file. Valid files are made first, to be varied.

Of a run folder, the first byte of the input chooses the file that the rest replaces. For files of tensors,
the rest is their structure, and for shards it is the list or the tar file: their lengths and checksums are
made to fit, so that what is behind them is reached.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["distill"]):
    import distill
    from distill.audio.corpus import open_shards, write_shards
    from distill.audio.corpus.membership import Membership
    from distill.config import load_toml
    from distill.errors import DistillError
    from distill.evaluation.baselines import load_statistics
    from distill.model.loading import load_latents, load_model
    from distill.plugin.registry import Registry
    from distill.recipe import read_recipe
    from distill.storage import checkpoints
    from distill.storage.checkpoints import load_latest, load_state

import numpy as np
import soundfile
from safetensors.torch import load_file, save

_RATE = 8000
_TINY = {
    "representation.sample_rate": _RATE,
    "representation.n_fft": 256,
    "representation.hop": 64,
    "model.latents_per_second": 250,
    "model.width": 16,
    "model.fine_width": 8,
    "model.encoder_blocks": [1, 1],
    "model.decoder_blocks": [1, 1],
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
        folder = self.run.folder
        self.plain = [self.run.recipe, self.run.metrics, self.run.split]
        self.states = [
            self.run.model,
            self.run.latents,
            self.run.baselines,
            *self.run.checkpoints.glob("step*"),
        ]
        self.whole = {path: path.read_bytes() for path in (*self.plain, *self.states)}
        self.tensors = {path: load_file(path) for path in self.states}
        self.seeds = []
        for number, path in enumerate(self.whole):
            content = self.whole[path]
            if path in self.states:
                header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
                content = header["__metadata__"]["distill_state"].encode()
            self.seeds.append(bytes([number]) + content)
        self.spare = shutil.copytree(folder, here / "spare")

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
            vae, representation = load_model(self.run)
            for read in (
                lambda: load_latents(self.run, representation, vae.latent_size),
                lambda: load_statistics(self.run, representation.bins),
                lambda: Membership.read(self.run.split),
                lambda: list(self.run.read_metrics()),
                lambda: load_latest(self.run.checkpoints),
                lambda: load_state(self.run.model),
            ):
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
    target = {"recipe": Recipes, "run": Runs, "shards": Shards}[sys.argv.pop(1)]()
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

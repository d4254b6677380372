"""Every command that a page shows runs, one after the other, as a reader would run them."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("plugins/*/*.md"))]
SMALL = [
    "--set=representation.sample_rate=16000",
    "--set=representation.n_fft=512",
    "--set=representation.hop=128",
    "--set=training.batch_size=2",
    "--set=training.precision=float32",
    "--set=training.clip_seconds=0.2",
    "--set=training.pairs=0",
    "--set=training.page=false",  # which takes longer than such a training
    "--set=model.width=8",
    "--set=model.fine_width=8",
]


def commands(page):
    """List a page's commands to be run in this process; torchrun's are for one process here."""
    text = page.read_text(encoding="utf-8")
    found = []
    for block in re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        if block.startswith("#!"):  # a script for a cluster, which the page says was not run
            continue
        for line in block.replace("\\\n", " ").replace(" && ", "\n").splitlines():
            command = re.sub(r"^\.venv/bin/|^torchrun .* -m (?=distill )", "", line)
            if command.startswith(("distill ", "pip install -e './distill-")) and "://" not in command:
                found.append(command)
    return found


COMMANDS = {page.relative_to(ROOT): commands(page) for page in PAGES}


@pytest.fixture
def my_sounds(tmp_path, monkeypatch):
    """Be in a folder with recordings in `my-sounds` and `my-archive`, without Zimtohrli.

    In it, evaluations of what was trained for two steps would spend half of their time.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "zimtohrli", None)
    random = np.random.default_rng(0)
    for folder in map(Path, ("my-sounds", "my-archive")):
        folder.mkdir()
        for number in range(3):
            soundfile.write(folder / f"{number}.wav", random.normal(0, 0.1, 22_050), 44_100)


def shortened(words):
    """Make a training short and small, and hold out enough of a small corpus."""
    if words[0] == "train":
        for option in ("--minutes", "--steps"):
            if option in words:
                at = words.index(option)
                del words[at : at + 2]
        words += ["--steps", "4" if "--resume" in words else "2", *SMALL]
    if words[:2] == ["losses", "profile"]:
        words += ["--batches", "1", *([] if "--run" in words else SMALL)]
    if words[0] == "shard":
        words += ["--heldout", "0.6", "--rate", "16000"]  # held out each by chance, and there are three
    return words


def taken_for_granted(words):
    """List the commands that make what a page takes to be there before this one."""
    if words[0] != "shard" and "shards" in words and not Path("shards").exists():
        yield shortened(["shard", "my-sounds", "shards"])
    for option in ("--run", "--out"):
        if option in words and (option == "--run" or "--resume" in words):
            run = words[words.index(option) + 1]
            if not Path(run).exists():
                yield shortened(["train", "my-sounds", "--loss", "stft,recon,kl", "--out", run])


def test_commands_are_found():
    """The pages contain commands, among them those that set everything up."""
    assert "distill train --loss stft,recon,kl --minutes 3" in COMMANDS[Path("README.md")]
    assert sum(map(len, COMMANDS.values())) > 40


@pytest.mark.usefixtures("my_sounds")
@pytest.mark.parametrize("page", [page for page in COMMANDS if COMMANDS[page]], ids=str)
def test_every_command_runs_in_the_order_shown(page, distill, install, monkeypatch):
    """Each `distill` command of a page ends with status 0, once what it takes to be there is."""
    for command in COMMANDS[page]:
        words = [
            path
            for word in shlex.split(command)
            for path in (sorted(map(str, Path().glob(word))) if "*" in word else [word])
        ]
        if words[0] == "pip":
            folder, _, _ = words[-1].partition("[")  # its extras are installed already
            install(Path(folder))
            monkeypatch.syspath_prepend(folder)
            continue
        target = Path(words.pop()) if words[-2] == ">" else None
        words = shortened(words[1 : -1 if target else None])
        for made in taken_for_granted(words):
            assert distill(*made).status == 0
        if words[0] == "shard":  # the page may have taken them for granted above
            shutil.rmtree(words[2], ignore_errors=True)
        result = distill(*words)
        assert result.status == 0, f"{command}\n{result.err}"
        if target:
            target.write_text(result.out, encoding="utf-8")

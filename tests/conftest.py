"""What the tests of trainings share: tiny recordings, a tiny recipe, a tiny run."""

import importlib
import os
import shutil
import signal
import sys
import time
import tomllib
from importlib.metadata import Distribution
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from distill.audio.corpus import write_shards
from distill.cli import main
from distill.comparison.compare import compare
from distill.config import assign, parse_assignment
from distill.inference import load
from distill.model.building import make_model, make_representation
from distill.storage.run import Run
from distill.training.building import make_loss
from distill.training.devices import make_accelerator
from distill.training.train import train

RATE = 8000
TINY = (
    f"representation.sample_rate={RATE}",
    "representation.n_fft=256",
    "representation.hop=64",
    "model.latents_per_second=250",
    "model.joint_frames=2",
    "model.width=16",
    "model.fine_width=8",
    "model.expansion=2",
    "training.precision=float32",
    "model.encoder_blocks=[1, 1]",
    "model.decoder_blocks=[1, 1]",
    "training.batch_size=2",
    "training.clip_seconds=0.2",
    "training.warmup_steps=2",
    "training.log_every=1",
    "training.evaluations=1",
    "training.device=cpu",
    "training.page=false",  # which takes longer than a tiny training
)
"""What makes a recipe tiny, as `--set` takes it."""


@pytest.fixture(autouse=True)
def _without_visqol(monkeypatch):
    """Hide ViSQOL as if it were not installed: it takes a second and more for each second of sound."""
    monkeypatch.setitem(sys.modules, "visqol", None)


@pytest.fixture(scope="session")
def stats():
    """Return SciPy's statistics, whose import takes more than a second, to the few tests that need them."""
    return importlib.import_module("scipy.stats")


@pytest.fixture(scope="session", autouse=True)
def _hang_up_ends():
    """Let SIGHUP do what it does by default, also where the tests run under nohup, which ignores it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session", autouse=True)
def _not_synced():
    """Leave written files to the system's cache, since no test cuts the power.

    A tiny training run waits for the disk some 15 times, which took 12 ms each.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)  # which refuses a closed file, too
        yield


@pytest.fixture(scope="session", autouse=True)
def _hardly_prepared():
    """Calibrate in 2 steps instead of 60, which took longer than the training of a tiny model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distill.training.batches._CALIBRATIONS", 2)
        yield


@pytest.fixture
def calibrated(monkeypatch):
    """Calibrate models in as many steps as outside the tests."""
    monkeypatch.setattr("distill.training.batches._CALIBRATIONS", 60)


@pytest.fixture
def visqol(_without_visqol, monkeypatch):
    """Have ViSQOL all the same, but not with numba, which would compile for half a minute first."""
    monkeypatch.delitem(sys.modules, "visqol")
    monkeypatch.setitem(sys.modules, "numba", None)


def _decaying(pitch, seconds, channels=1):
    time = np.arange(round(seconds * RATE)) / RATE
    sound = 0.5 * np.sin(2 * np.pi * pitch * time) * np.exp(-4 * time)
    return np.stack([sound / (1 + channel) for channel in range(channels)], axis=1)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """Write five recordings of 0.3 to 0.5 s at 8 kHz, one of them stereo, one in a folder below."""
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "below").mkdir()
    for number, name in enumerate(("a", "b", "c", "below/a", "stereo")):
        sound = _decaying(200 * (number + 1), 0.3 + 0.05 * number, 2 if name == "stereo" else 1)
        soundfile.write(folder / f"{name}.wav", sound, RATE)
    return folder


@pytest.fixture(scope="session")
def shards(tmp_path_factory):
    """Write twelve recordings of a second, each a constant of its own, to shards of two; none held out."""
    folder = tmp_path_factory.mktemp("constants")
    for number in range(12):
        soundfile.write(folder / f"{number:02d}.wav", np.full(RATE, (number + 1) / 16), RATE)
    out = tmp_path_factory.mktemp("shards") / "out"
    write_shards(folder, out, sample_rate=RATE, heldout_fraction=0.0, minutes=2 / 60)
    return out


@pytest.fixture
def tiny_tree():
    """Return the tiny recipe as plain data, for `read_recipe`."""
    tree = {}
    for text in TINY:
        assign(tree, *parse_assignment(text))
    return tree


@pytest.fixture(scope="session")
def tiny_options():
    """Return the tiny recipe as options by their address, as `distill.train` takes them, without pairs."""
    return dict(map(parse_assignment, TINY)) | {"training.pairs": 0}


@pytest.fixture(scope="session")
def arrays():
    """Return three sounds of 0.3 s: mono `[N]`, stereo `[C, N]` as a tensor, and at another rate."""
    generator = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(2, 2400, generator=generator)
    return [
        ("mono", noise[0].numpy(), RATE),
        ("stereo", noise.flip(1), RATE),
        ("slow", 0.5 * noise[1, :1200].double().numpy(), RATE // 2),
    ]


@pytest.fixture(scope="session")
def tiny():
    """Return the tiny recipe as words of a command."""
    return [word for text in TINY for word in ("--set", text)]


@pytest.fixture(scope="session")
def distill():
    """Run a command line in this process; what it raises beyond what click handles passes through."""

    def run(*words):
        # A wide terminal, so that no path is broken.
        result = CliRunner(env={"COLUMNS": "300"}).invoke(main, [str(word) for word in words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return SimpleNamespace(status=result.exit_code, out=result.stdout, err=result.stderr)

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory, recordings, tiny, distill):
    """Train a tiny run once, not to be changed: its `folder`, and what the command printed, `out`."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    words = ("train", recordings, "--loss", "stft,recon,kl", *tiny, "--set", "training.evaluations=2")
    result = distill(*words, "--steps", 4, "--out", folder)
    assert (result.status, result.err) == (0, "")
    return SimpleNamespace(folder=folder, out=result.out)


@pytest.fixture(scope="session")
def measured(trained, tmp_path_factory):
    """Copy the tiny run, and measure its axes on sounds of 0.2 s; not to be changed."""
    folder = shutil.copytree(trained.folder, tmp_path_factory.mktemp("measured") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("distill.controls.axes._SECONDS", 0.2)
        patch.setattr("distill.controls.axes._SEEDS", 2)
        assert load(folder).axes
    return folder


@pytest.fixture(scope="session")
def compared_runs(trained, recordings, tiny_options, tmp_path_factory):
    """Return two runs that differ in a term and an option; they are measured, and else not to be changed."""
    folder = tmp_path_factory.mktemp("compared")
    first = Run(folder / "first")
    shutil.copytree(trained.folder, first.folder)
    options = tiny_options | {"training.learning_rate": 0.01}
    train(recordings, loss="recon,kl", steps=3, out=folder / "second", options=options)
    return first, Run(folder / "second")


@pytest.fixture(scope="session")
def comparison(compared_runs):
    """Return the comparison of the two."""
    return compare(compared_runs)


@pytest.fixture(scope="session")
def browser():
    """Start the Chromium of the machine, which may run as root in a container; skip where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--autoplay-policy=user-gesture-required"]
        browser = driver.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(browser):
    """Return a function that opens a file in the browser, which is offline.

    A `script` runs before those of the page. What went wrong is in `page.wrong`. `page.until` waits for a
    condition, which the policy of pages does not allow to be polled within them, and `page.draw_all` for the
    plots, also those that are out of sight.
    """
    contexts = []

    def open_page(path, script="", **settings):
        context = browser.new_context(
            offline=True, **{"viewport": {"width": 1280, "height": 900}, **settings}
        )
        contexts.append(context)
        context.add_init_script(script)
        page = context.new_page()
        page.wrong = []
        page.on("console", lambda message: page.wrong.append(message.text))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("dialog", lambda dialog: page.wrong.append(dialog.message))
        page.on("request", lambda request: None if request.url.startswith(("file:", "data:", "blob:"))
                else page.wrong.append(request.url))  # fmt: skip

        def until(condition):
            end = time.monotonic() + 20
            while not page.evaluate(condition):
                assert time.monotonic() < end, condition
                time.sleep(0.02)

        def draw_all():
            page.evaluate("Promise.all(plots.map(draw))")
            until("plots.every((plot) => plot.dataset.drawn === 'yes')")

        page.until, page.draw_all = until, draw_all
        page.goto(path.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def assemble():
    """Return a function that makes a trainer, of a class, from a draft, as a training run does."""

    def assemble(trainer, draft, corpus, folder, **options):
        recipe = draft.recipe
        representation = make_representation(recipe.representation)
        return trainer(
            recipe.training,
            make_accelerator(recipe.training),
            model=make_model(recipe.model, representation, recipe.training.seed),
            representation=representation,
            loss=make_loss(draft, recipe.training.seed),
            corpus=corpus,
            run=Run(folder),
            **options,
        )

    return assemble


@pytest.fixture(scope="session")
def install():
    """Write beside a plugin's modules what an installer would, from its own pyproject.toml."""

    def write(plugin):
        project = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]
        info = plugin / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
        )
        points = project["entry-points"]["distill"]
        lines = "".join(f"{name} = {module}\n" for name, module in points.items())
        (info / "entry_points.txt").write_text(f"[distill]\n{lines}")

    return write


@pytest.fixture
def install_only(tmp_path, monkeypatch):
    """Return a function that installs plugins, {distribution: (entry point, source)}, and hides others."""

    def install(plugins, version="1.5"):
        points = []
        for name, (entry_point, source) in plugins.items():
            module = name.replace("-", "_")
            (tmp_path / f"{module}.py").write_text(source)
            folder = tmp_path / f"{module}-{version}.dist-info"
            folder.mkdir()
            (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            (folder / "entry_points.txt").write_text(f"[distill]\n{entry_point} = {module}\n")
            points += Distribution.at(folder).entry_points
            monkeypatch.setitem(sys.modules, module, None)  # forgotten afterwards
            del sys.modules[module]
        monkeypatch.setattr("distill.plugin.selection.entry_points", lambda **_: points)
        monkeypatch.syspath_prepend(tmp_path)

    return install


_IMPATIENT = "const now = performance.now.bind(performance); performance.now = () => 100 * now();"
SOUNDLESS = {
    "absent": """
        delete window.AudioContext;
        delete window.webkitAudioContext;
        HTMLMediaElement.prototype.play = () => Promise.reject(new DOMException("no", "NotSupportedError"));
    """,
    "suspended": _IMPATIENT
    + """
        window.AudioContext = class extends AudioContext {
          constructor() { super(); this.suspend(); }
          resume() { return new Promise(() => {}); }
        };
    """,
    "undecoded": """
        BaseAudioContext.prototype.decodeAudioData = () =>
          Promise.reject(new DOMException("no", "EncodingError"));
    """,
}
"""Scripts that make a browser one without sound: without Web Audio, without an output, without a codec."""


@pytest.fixture(scope="session")
def soundless():
    """Return these scripts."""
    return SOUNDLESS

"""Tests of what runs on CUDA: that it gives what the CPU gives, and that no step waits for the device.

They are skipped where there is no such device. `benchmarks/gpu.sh` runs them where there is one.
"""

import json
import math
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from click.testing import CliRunner
from torch import nn

import distill as api
from distill import TermConfig, TermSpec
from distill.audio.corpus import open_corpus
from distill.cli import main
from distill.errors import TrainingError
from distill.functional import create_stft_loss
from distill.loss.composer import compose
from distill.model.building import make_model
from distill.model.initialization import initialize_axes
from distill.model.memory import Sizes
from distill.model.sounds import reconstruct
from distill.plugin.builtin_terms import StftConfig
from distill.plugin.registry import Registry
from distill.recipe import read_recipe
from distill.settings import ModelSettings, RepresentationSettings, TrainingSettings
from distill.spectral import transforms
from distill.spectral.representation import MagnitudeIF
from distill.storage.checkpoints import load_latest, load_state
from distill.testing.inputs import material
from distill.training.batches import predict
from distill.training.trainer import Trainer
from distill.views import LogMagnitude

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _exact_and_alone():
    """Multiply in float32 as the CPU does, and let each test choose its device anew."""
    torch.set_float32_matmul_precision("highest")
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001  # it has no other way
    yield
    torch.backends.cudnn.allow_tf32 = before
    AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001


@contextmanager
def refusing_to_wait():
    """Let an operation that makes the host wait for the device fail."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def noise(*shape, seed=0):
    """Draw standard normal numbers, on the CPU."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def assert_near(one, other, share):
    """Compare by the norm of the difference, as a share of the norm."""
    one, other = one.detach().cpu().double(), other.detach().cpu().double()
    assert one.shape == other.shape
    assert ((one - other).norm() / other.norm()).item() < share


def test_waiting_is_noticed():
    """A wait for the device is noticed, which the tests below rely on."""
    value = torch.ones((), device=CUDA)
    with refusing_to_wait(), pytest.raises(RuntimeError, match="synchronizing"):
        float(value)


def test_the_representation_goes_there_and_back():
    """The way to the representation and back reaches 125 dB, nearly as on the CPU."""
    representation = MagnitudeIF()
    waveform = 0.1 * noise(3, 30_000)
    spectrogram = representation(waveform.to(CUDA))
    assert spectrogram.device == CUDA
    assert_near(representation.inverse(spectrogram, 30_000), waveform, 10 ** (-125 / 20))
    assert_near(spectrogram[:, 0], representation(waveform)[:, 0], 1e-5)


@pytest.mark.parametrize("n_fft", [512, 511])
def test_bins_that_stand_for_themselves_are_real(n_fft):
    """Imaginary parts of the first and the last bin have no meaning, and change nothing, each way."""
    spectrum = torch.complex(noise(2, n_fft // 2 + 1, 9), noise(2, n_fft // 2 + 1, 9, seed=1))
    made = [transforms.synthesize(spectrum.to(device), n_fft, 128) for device in ("cpu", CUDA)]
    whole = slice(n_fft, -n_fft)  # the ends are divided by next to nothing
    assert_near(made[1][:, whole], made[0][:, whole], 1e-5)
    gradients = []
    for device in ("cpu", CUDA):
        waveform = noise(2, 4000, seed=2).to(device).requires_grad_()
        transformed = transforms.stft(waveform, n_fft, 128, n_fft)
        pull = torch.complex(noise(*transformed.shape), noise(*transformed.shape, seed=1)).to(device)
        gradients.append(torch.autograd.grad(transformed, waveform, pull)[0])
    assert_near(gradients[1], gradients[0], 1e-5)


def test_griffin_lim_iterations_find_the_phases_of_the_cpu():
    """The inverse of a decoder's output is that of the CPU."""
    representation = MagnitudeIF(8000, n_fft=256, hop=64)
    spectrogram = representation(0.1 * noise(2, 4000))
    spectrogram[:, 1] = 0.3 * noise(*spectrogram[:, 1].shape)
    made = [representation.inverse(spectrogram.to(device), 4000, 2) for device in ("cpu", CUDA)]
    assert_near(made[1], made[0], 1e-3)


def test_the_spectral_distance_has_the_cpus_value_and_gradient():
    """Gradients in float32 are off by some 1e-3 wherever they are computed."""
    loss = create_stft_loss()
    results = []
    for device in ("cpu", CUDA):
        prediction = (0.1 * noise(2, 1, 9000)).to(device).requires_grad_()
        value = loss(prediction, (0.1 * noise(2, 1, 9000, seed=1)).to(device))
        results.append((value[None], torch.autograd.grad(value, prediction)[0]))
    assert_near(results[1][0], results[0][0], 1e-5)
    assert_near(results[1][1], results[0][1], 1e-2)


@pytest.mark.parametrize("prediction", ["spectrogram", "waveform"])
@pytest.mark.parametrize("balancer", [None, "gradient"])
def test_a_loss_of_all_built_in_terms_is_the_cpus(prediction, balancer):
    """Each component and the gradient are those of the CPU, and nothing waits for the device."""
    components, gradients = [], []
    for device in (torch.device("cpu"), CUDA):
        loss = compose("stft,recon,kl,waveform", balancer=balancer, registry=Registry(discover=False)).to(
            device
        )
        made = material().to(device)
        representation = MagnitudeIF(8000, n_fft=256, hop=64)
        loss(made.inputs(representation, prediction=prediction))["total"].backward()  # windows are made once
        inputs = made.inputs(representation, prediction=prediction)
        if device == CUDA:
            with refusing_to_wait():
                found = loss(inputs)
                found["total"].backward()
        else:
            found = loss(inputs)
            found["total"].backward()
        components.append({name: value.item() for name, value in found.items()})
        (source,) = inputs.prediction.sources
        gradients.append(source.grad)
    # Balancing weights are ratios of norms of gradients, in float32 off by some 1e-3 wherever computed.
    assert components[1] == pytest.approx(components[0], rel=2e-2 if balancer else 5e-3, abs=1e-5)
    assert_near(gradients[1], gradients[0], 2e-2)


@pytest.mark.parametrize("per_example", [False, True])
def test_a_replayed_distance_is_the_cpus(per_example):
    """From the third call on, kernels are replayed: with the values and gradients of other samples.

    Earlier results stay as they are.
    """
    loss = create_stft_loss(StftConfig(per_example=per_example))
    results, expected = [], []
    for seed in range(6):
        prediction, target = (0.1 * noise(2, 1, 9000, seed=2 * seed + side) for side in range(2))
        for device, into in (("cpu", expected), (CUDA, results)):
            moved = prediction.to(device).requires_grad_()
            value = loss(moved, target.to(device))
            into += [value[None], torch.autograd.grad(3 * value, moved)[0]]
    for one, other in zip(results, expected, strict=True):
        assert_near(one, other, 1e-2)
    values = [torch.cat(each[::2]).detach().cpu() for each in (results, expected)]
    torch.testing.assert_close(*values, rtol=1e-5, atol=0)


def test_a_caller_may_record_the_distance():
    """A CUDA graph of the caller's own holds value and gradient, whether or not there are replays."""
    loss = create_stft_loss()
    prediction, target = (0.1 * noise(2, 1, 5000, seed=side).to(CUDA) for side in range(2))
    prediction.requires_grad_()

    def step():
        value = loss(prediction, target)
        return value, torch.autograd.grad(value, prediction)[0]

    with torch.cuda.stream(torch.cuda.Stream()):  # as torch asks of whoever records a backward pass
        for _ in range(4):
            expected = step()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        made = step()
    graph.replay()
    for one, other in zip(made, expected, strict=True):
        assert_near(one[None], other[None], 1e-5)


def models(**options):
    """Make one model twice, on the CPU and on CUDA, its weights those of one seed."""
    representation = MagnitudeIF()
    settings = ModelSettings(**options)
    return [make_model(settings, representation, 0).eval().to(device) for device in ("cpu", CUDA)]


@pytest.mark.parametrize("code", ["rich", "compact"])
def test_the_model_is_the_cpus(code):
    """Encoding, decoding and reconstruction give the results of the CPU; the sound comes back to it."""
    representation = MagnitudeIF()
    waveform = 0.1 * noise(1, 40_000)
    spectrogram = representation(waveform)
    results = []
    for vae in models(code=code):
        with torch.no_grad():
            mu, logvar = vae.encode(spectrogram.to(vae.device))
            decoded = vae.decode(mu, spectrogram.shape[-1])[:, 0]
            sound = vae.sound(mu, representation, 40_000, 0)
        results.append((mu, logvar, decoded, sound))
    for share, one, other in zip((1e-4, 1e-4, 1e-4, 1e-2), results[1], results[0], strict=True):
        assert_near(one, other, share)
    made = reconstruct(models(code=code)[1], representation, waveform, refinements=2)
    assert (made.device.type, made.shape) == ("cpu", waveform.shape)
    assert made.isfinite().all()


def test_a_compact_code_begins_with_its_axes():
    """The axes of a compact code are found on the CPU and come first."""
    vae = models(code="compact")[1]
    representation = MagnitudeIF()
    initialize_axes(vae, representation((0.1 * noise(8, 30_000)).to(CUDA)))
    assert vae.axes.begun
    assert vae.axes.inwards.weight.isfinite().all()


class UnwaitingTrainer(Trainer):
    """A trainer whose steps, but for the first, fail if they wait for the device."""

    def _take_step(self):
        if not self.step:
            super()._take_step()
            return
        with refusing_to_wait():
            super()._take_step()


@pytest.fixture
def make(tiny_tree, recordings, tmp_path, assemble):
    """Make a trainer on CUDA with the tiny recipe, perhaps with a term that is not installed."""

    def make(folder, *, precision="bfloat16", balance="gradient", latents=250, term=None, **training):
        given = {"device": "cuda", "precision": precision, "log_every": 2, **training}
        tree = {**tiny_tree, "training": tiny_tree["training"] | given}
        tree["model"] = tree["model"] | {"latents_per_second": latents}
        draft = read_recipe(
            tree,
            Registry(discover=False),
            loss=["stft", "recon", "kl", "waveform", *([] if term is None else [term])],
            balance=balance,
        )
        corpus = open_corpus(recordings, sample_rate=8000, cache=tmp_path / "cache", heldout_fraction=0.2)
        return assemble(
            UnwaitingTrainer,
            draft,
            corpus,
            tmp_path / folder,
            report=make.records.append,
            warn=lambda _, message: make.warnings.append(message),
        )

    make.records, make.warnings = [], []
    return make


@pytest.mark.parametrize(
    ("precision", "options"),
    [
        ("float32", {}),
        ("bfloat16", {}),
        # As from the base model: the encoder is kept, and the posterior has no gradient.
        ("bfloat16", {"latents": 10_000, "encoder_rate": 0.0, "balance": None}),
    ],
    ids=["float32", "bfloat16", "encoder kept"],
)
def test_a_step_does_not_wait_for_the_device(make, precision, options):
    """Six steps of a training; only records may take values to the host.

    After each evaluation, the next step measures the gradients of the terms.
    """
    trainer = make("run", precision=precision, steps=6, evaluations=4, **options)
    trainer.train()
    assert trainer.step == 6
    assert trainer.vae.device == CUDA
    assert all(torch.tensor(record.components["total"]).isfinite() for record in make.records)
    assert make.warnings == []


@pytest.mark.parametrize("options", [{}, {"encoder_rate": 0.0}], ids=["all", "encoder kept"])
def test_a_replayed_model_learns_the_same(make, options):
    """Weights after eight steps are those of a training without CUDA graphs, but for the order of sums."""
    shared = {"precision": "float32", "steps": 8, "gradient_every": 5, **options}
    one, other = (
        make(f"graphs-{graphs}", cuda_graphs=graphs, balance=None, **shared) for graphs in (True, False)
    )
    one.train()
    other.train()
    for (name, weight), another in zip(
        one.vae.state_dict().items(), other.vae.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(weight, another, rtol=1e-3, atol=1e-5, msg=lambda text, at=name: at + text)
    records = make.records
    half = len(records) // 2
    for record, again in zip(records[:half], records[half:], strict=True):
        assert record.components == pytest.approx(again.components, rel=1e-3, abs=1e-5)


class Keeper(nn.Module):
    """A term that keeps the outputs of earlier steps, and what they were."""

    kept: list = []  # noqa: RUF012  # of the test

    def __init__(self, _):
        super().__init__()

    def forward(self, inputs):
        """Return a loss of the output."""
        (output,) = inputs.prediction.sources
        for each in (output, inputs.posterior.mu):
            self.kept.append((each.detach(), each.detach().clone()))
        return inputs.view(LogMagnitude())[0].mean()


def test_outputs_of_a_replayed_model_may_be_kept(make):
    """The next step does not write over what a term keeps."""
    term = TermSpec(name="keeper", config=TermConfig, build=Keeper, summary="")
    trainer = make("run", steps=6, balance=None, gradient_every=0, term=term)
    trainer.train()
    assert len(Keeper.kept) >= 12
    assert all(torch.equal(one, other) for one, other in Keeper.kept)


class Faulty(nn.Module):
    """A term that is NaN in training in the third step of six."""

    def __init__(self, _):
        super().__init__()

    def forward(self, inputs):
        """Return it."""
        value = inputs.view(LogMagnitude())[0].mean()
        return value * math.nan if torch.is_grad_enabled() and round(6 * inputs.progress) == 2 else value


FAULTY = TermSpec(name="faulty", config=TermConfig, build=Faulty, summary="")


def test_a_step_that_is_not_finite_is_skipped_on_the_device(make):
    """A step that is not finite is skipped without a wait: one warning, a kept batch and finite weights."""
    trainer = make("run", steps=6, nonfinite="skip", balance=None, term=FAULTY)
    trainer.train()
    assert trainer.step == 6
    assert [message.splitlines()[0].split(":")[0] for message in make.warnings] == ["Step 3 is skipped"]
    assert all(value.isfinite().all() for value in trainer.vae.state_dict().values())
    kept = load_state(trainer.run.batch)
    assert kept["step"] == 3
    assert kept["waveform"].shape == (2, trainer.clip_samples)
    assert len(kept["torch"]) == 2  # the states of the CPU's generator and of the device's


def test_a_kept_batch_is_computed_again_there(recordings, tiny_options, tmp_path):
    """A kept batch gives the same values of each term on CUDA and the CPU; the NaN term is named."""
    options = {**tiny_options, "training.device": "cuda", "training.nonfinite": "stop"}
    with pytest.raises(TrainingError, match="faulty"):
        api.train(
            recordings, loss=["stft", "recon", "kl", FAULTY], options=options, steps=6, out=tmp_path / "run"
        )
    found = [
        api.repeat_batch(tmp_path / "run", loss=[FAULTY], device=device).examination
        for device in ("cpu", "cuda")
    ]
    for one, other in zip(found[0].terms, found[1].terms, strict=True):
        assert other.value == pytest.approx(one.value, rel=1e-2, abs=1e-5, nan_ok=True)
        assert math.isnan(other.value) == (one.name == "faulty")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_memory_is_estimated_from_below(monkeypatch, precision):
    """A recipe is not refused on a device that holds what a step needs there."""
    representation = MagnitudeIF().to(CUDA)
    vae = make_model(ModelSettings(), representation, 0).to(CUDA).requires_grad_()
    optimizer = torch.optim.AdamW(vae.parameters(), fused=True)
    waveform = 0.1 * noise(8, 40_000).to(CUDA)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(2):  # the optimizer's averages are there from the second step on
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
            inputs = predict(vae, representation, waveform, None, iterations=0, progress=0.0)
        inputs.prediction.sources[0].square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    needed = torch.cuda.max_memory_allocated()
    monkeypatch.setattr("distill.model.memory.machine_memory", lambda: 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (needed, needed))
    Sizes(ModelSettings(), RepresentationSettings()).require_training(TrainingSettings(batch_size=8))


def test_a_resumed_training_equals_one_that_was_never_stopped(make):
    """Weights after eight steps are those of four and four more, but for the order of sums."""
    straight = make("straight", precision="float32", steps=8)
    straight.train()
    stopped = make("stopped", precision="float32", steps=8)
    report = stopped.report

    class Enough(Exception):  # noqa: N818  # ends a training, and is no error
        pass

    def stop(record):
        report(record)
        if record.step == 4 and record.split == "train":
            stopped.save()
            raise Enough

    stopped.report = stop
    with pytest.raises(Enough):
        stopped.train()
    resumed = make("stopped", precision="float32", steps=8)
    resumed.train(load_latest(stopped.run.checkpoints).state)
    assert resumed.step == 8
    for (name, one), other in zip(
        resumed.vae.state_dict().items(), straight.vae.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5, msg=lambda text, at=name: at + text)


def test_a_run_goes_on_from_device_to_device(recordings, tiny, tmp_path):
    """A run is resumed from CUDA to the CPU and back, and then measured and used, and has a page."""
    folder = tmp_path / "run"

    def distill(*words):
        AcceleratorState._reset_state(reset_partial_state=True)  # noqa: SLF001  # as a new process has it
        result = CliRunner(env={"COLUMNS": "300"}).invoke(main, [str(word) for word in words])
        assert (result.exit_code, result.stderr) == (0, ""), result.output
        return result

    device = "--set", "training.device=cuda"
    distill("train", recordings, "--loss", "stft,recon,kl", *tiny, *device, "--steps", 4, "--out", folder)
    distill("train", "--resume", "--out", folder, "--steps", 6, "--device", "cpu")
    page = "--set", "training.page=true"
    distill("train", "--resume", "--out", folder, "--steps", 8, "--device", "cuda", *page)
    assert (folder / "report.html").stat().st_size > 1e6
    profiled = json.loads(distill("losses", "profile", "--run", folder, "--batches", 1, "--json").stdout)
    assert profiled
    distill("evaluate", folder, recordings / "a.wav", "--no-visqol")
    distill("reconstruct", folder, recordings / "a.wav", "--out", tmp_path / "made")
    distill("generate", folder, "-n", 1, "--out", tmp_path / "new")
    assert len(list((tmp_path / "made").rglob("*.wav"))) == 1
    assert len(list((tmp_path / "new").rglob("*.wav"))) == 1


def test_a_loaded_model_is_used_there(recordings, tiny_options, tmp_path):
    """What it makes on CUDA is what it makes on the CPU, and comes back to the device of its input."""
    options = {**tiny_options, "training.device": "cuda"}
    run = api.train(recordings, loss="stft,recon,kl", options=options, steps=2, out=tmp_path / "run")
    there, here = (api.load(run, device=device) for device in ("cuda", "cpu"))
    assert there.device == CUDA
    waveform = 0.1 * noise(2, 4000)
    assert_near(there.reconstruct(waveform), here.reconstruct(waveform), 1e-2)
    assert there.reconstruct(waveform.to(CUDA)).device == CUDA
    assert_near(there.encode(waveform), here.encode(waveform), 1e-3)
    assert_near(there.generate(1, seed=0)[0], here.generate(1, seed=0)[0], 1e-2)
    ratings = [model.evaluate(recordings / "a.wav", visqol=False).mean for model in (there, here)]
    assert ratings[0].mel == pytest.approx(ratings[1].mel, abs=0.05)


def test_the_base_training_does_not_wait(recordings, tmp_path):
    """The draws and the step of the base training do not wait; its loss is float32."""
    from base import Training, use_tensor_cores  # noqa: PLC0415  # a benchmark, which is on no path
    from base_sounds import Sounds  # noqa: PLC0415

    training = Training(tmp_path, CUDA, batch=4)
    use_tensor_cores()
    training.sounds = Sounds(recordings, CUDA, slots=8, share=0.5, step=0, fresh=2, workers=2)
    training._learn(0.0)  # noqa: SLF001  # which makes windows, once
    with refusing_to_wait():
        parts = [training._learn(0.0) for _ in range(3)]  # noqa: SLF001
    training.sounds.close()
    assert {value.dtype for value in parts[-1].values()} == {torch.float32}
    assert all(value.isfinite() for each in parts for value in each.values())
    training.save()
    again = Training(tmp_path, CUDA, batch=4)
    assert (again.step, again.clips) == (4, 16)
    assert torch.equal(again.vae.patch_in.weight, training.vae.patch_in.weight)

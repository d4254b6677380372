"""Tests of distill.training.session: what a run leaves behind, and how it ends and goes on."""

import json
import os
import shlex
import shutil
import signal
import sys
import time
import tomllib

import pytest
import soundfile
import torch
from forked import Forked
from torch import nn

from distill import TermConfig, TermSpec, hookimpl
from distill.plugin.registry import Registry
from distill.storage.checkpoints import checkpoint_paths, load_state
from distill.storage.run import Run
from distill.training.recorder import Recorder


def records(folder):
    """Read the records of a run as any program would."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def steps(folder):
    """Return the steps whose training was recorded."""
    return [record["step"] for record in records(folder) if record["split"] == "train"]


def test_a_run_holds_what_the_design_says(trained):
    """The run folder holds the designed files, nothing half-written and no pickle."""
    assert {path.name for path in trained.folder.iterdir()} == {
        *("recipe.toml", "metrics.jsonl", "checkpoints", "model.safetensors", "latents.safetensors"),
        *("audio", "tensorboard", "baselines.safetensors", "split.json", "outcome.json"),
    }
    files = [path for path in trained.folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files if path.parent.name != "tensorboard"} == {
        *(".toml", ".json", ".jsonl", ".safetensors", ".wav"),
    }


def test_a_run_tells_what_it_was_trained_on(trained, recordings):
    """The run names all recordings with their places, one of five held out."""
    told = json.loads((trained.folder / "split.json").read_text())
    assert told["corpus"] == str(recordings)
    assert (len(told["train"]), len(told["heldout"])) == (4, 1)
    names = {path.relative_to(recordings).as_posix() for path in recordings.rglob("*.wav")}
    assert {each["name"] for each in (*told["train"], *told["heldout"])} == names


def test_metrics_are_for_programs(trained):
    """Every step and held-out measurement is recorded under the keys of the design."""
    told = records(trained.folder)
    assert [(record["split"], record["step"]) for record in told] == [
        ("train", 1),
        ("train", 2),
        ("heldout", 2),
        ("train", 3),
        ("train", 4),
        ("heldout", 4),
    ]
    assert all({"step", "split", "seconds", "components", "weights"} <= set(record) for record in told)
    assert set(told[0]["components"]) == {
        *("total", "stft", "reconstruction", "kl", "gradient_norm"),
        *("reconstruction/magnitude", "reconstruction/instantaneous_frequency"),
    }
    assert set(told[0]["weights"]) == {"stft", "reconstruction", "kl"}
    seconds = [record["seconds"] for record in told]
    assert seconds == sorted(seconds)


def test_the_summary_stands_at_the_start(trained, recordings):
    """Terms, weights, corpus, model and device are printed before the first training line."""
    lines = [" ".join(line.split()) for line in trained.out.splitlines()]
    assert lines[0].startswith("loss stft, weight 1 distill ")
    assert lines[3] == f"corpus {recordings}"
    assert lines[4].startswith("4 recordings, ")
    assert lines[5].startswith("1 recording, ")
    assert lines[6].startswith("model 0.0 million parameters, 250 latents per second")
    # Rich breaks the line at 80 columns.
    told = "begins with random weights: the base model has another representation.sample_rate, 44100"
    assert " ".join(lines[7:-1]).startswith(f"{told} device cpu, float32 step 1 of 4, ")
    assert any(line.startswith("step 2 of 4, ") and "held-out total " in line for line in lines)


def test_what_was_skipped_is_listed(distill, recordings, tiny, tmp_path):
    """A corpus with something unreadable in it trains, and says what was left out and why."""
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name in ("a.wav", "b.wav"):
        (corpus / name).write_bytes((recordings / name).read_bytes())
    (corpus / "text.wav").write_text("no audio")
    words = ("--loss", "recon,kl", *tiny, "--steps", 1, "--out", tmp_path / "run")
    result = distill("train", corpus, *words)
    assert result.status == 0
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert "skipped text.wav is not audio that libsndfile reads" in lines


def test_pairs_can_be_compared_by_ear(trained, recordings):
    """Each held-out recording has a finite reconstruction of equal length, rate and channels."""
    pairs = sorted((trained.folder / "audio").iterdir())
    assert len(pairs) == 2
    (original, rate), (made, made_rate) = map(soundfile.read, pairs)
    assert [path.name.partition(".")[2] for path in pairs] == ["original.wav", "reconstruction.wav"]
    assert pairs[0].name.startswith("1-")
    assert rate == made_rate == 8000
    assert original.shape == made.shape
    assert abs(made).max() > 0
    sources = [soundfile.read(path)[0] for path in recordings.rglob("*.wav")]
    assert any(source.shape == original.shape and abs(source - original).max() < 1e-4 for source in sources)


def test_recordings_of_one_name_are_all_written(distill, recordings, tiny, tmp_path):
    """Where nothing is held out, those trained on are written, and two of one name in two folders."""
    words = ("--loss", "recon,kl", *tiny, "--set", "corpus.heldout_fraction=0", "--steps", 1)
    assert distill("train", recordings, *words, "--out", tmp_path / "run").status == 0
    names = sorted(path.name for path in (tmp_path / "run" / "audio").glob("*.original.wav"))
    assert names == [f"{number}.original.wav" for number in ("1-a", "2-b", "3-a", "4-c", "5-stereo")]


def test_the_commands_it_prints_run(trained, recordings, distill, tmp_path):
    """The output names the folder of sounds, and its three commands run with FILE and DIR filled in."""
    assert f"Done. Originals and reconstructions to listen to: {trained.folder / 'audio'}\n" in trained.out
    printed = [line for line in trained.out.splitlines() if line.startswith("  distill ")]
    assert [shlex.split(line)[1] for line in printed] == ["reconstruct", "generate", "evaluate"]
    replaced = {"FILE...": str(recordings / "a.wav"), "DIR": str(tmp_path / "made")}
    for line in printed:
        words = [replaced.get(word, word) for word in shlex.split(line)[1:]]
        result = distill(*words)
        assert (result.status, result.err) == (0, "")
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        "a.wav",
        *(f"sound-00{number}.wav" for number in range(1, 9)),
    }


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_tells_how_to_go_on(distill, recordings, tiny, tmp_path, monkeypatch, number):
    """A signal gives status 130, and the printed command finishes the run with each step once."""
    folder = tmp_path / "my run"
    write = Recorder.write

    def write_and_kill(recorder, record):
        write(recorder, record)
        if record.step == 2:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Recorder, "write", write_and_kill)
    words = ("--loss", "recon,kl", *tiny, "--set", "training.evaluations=1", "--steps", 6)
    result = distill("train", recordings, *words, "--out", folder)
    assert (result.status, result.err) == (130, "")
    assert result.out.endswith(
        f"Interrupted at step 3, and saved. Go on with:\n  distill train --resume --out '{folder}'\n"
    )
    assert list(checkpoint_paths(folder / "checkpoints")) == [3]
    assert (folder / "model.safetensors").exists()
    monkeypatch.undo()
    command = shlex.split(result.out.splitlines()[-1])
    resumed = distill(*command[1:])
    assert (resumed.status, resumed.err) == (0, "")
    assert steps(folder) == [1, 2, 3, 4, 5, 6]


def test_a_run_of_no_set_length_says_how_long_it_lasts(distill, recordings, tiny, tmp_path, monkeypatch):
    """Its recipe holds the ten minutes, and the help of the command names them."""
    write = Recorder.write

    def write_and_kill(recorder, record):
        write(recorder, record)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Recorder, "write", write_and_kill)
    folder = tmp_path / "run"
    assert distill("train", recordings, "--loss", "recon,kl", *tiny, "--out", folder).status == 130
    training = tomllib.loads((folder / "recipe.toml").read_text())["training"]
    assert (training["minutes"], "steps" in training) == (10.0, False)
    assert "(10 if neither is given)" in distill("train", "--help").out


class Breaking(nn.Module):
    """A term that is infinite from its third step in training on."""

    def __init__(self, _):
        super().__init__()
        self.steps = 0

    def forward(self, inputs):
        """Count the steps."""
        self.steps += torch.is_grad_enabled()
        return 0 * inputs.posterior.mu.mean() + (float("inf") if self.steps >= 3 else 0.0)


@hookimpl
def distill_loss_terms():
    """Yield it."""
    yield TermSpec(name="breaking", config=TermConfig, build=Breaking, summary="")


def test_a_loss_that_is_not_finite_ends_with_status_1(distill, recordings, tiny, tmp_path, monkeypatch):
    """A loss that is not finite ends in a message with its component, and the run can go on."""

    def registry():
        registry = Registry(discover=False)
        registry.register(sys.modules[__name__], name="breaking-losses", version="1")
        return registry

    monkeypatch.setattr("distill.plugin.registry.Registry", registry)
    words = ("--loss", "recon,kl,breaking", *tiny, "--steps", 6, "--out", tmp_path / "run")
    result = distill("train", recordings, *words)
    assert result.status == 1
    assert result.err == (
        "Error: step 3: the loss is not finite: breaking (breaking-losses 1) is inf\n"
        "Its clips are of a.wav, below/a.wav.\n"
        "The term breaking (breaking-losses 1) is inf.\n"
        "Mend or leave out the term, or skip such steps: --set training.nonfinite=skip\n"
        f"The state before that step is saved. distill train --resume --out {tmp_path / 'run'} goes on from "
        "there, with such a change.\n"
        f"distill train --repeat-batch --out {tmp_path / 'run'} computes the step again, and shows each "
        "term.\n"
    )
    assert steps(tmp_path / "run") == [1, 2]
    state = load_state(tmp_path / "run" / "model.safetensors")
    assert all(value.isfinite().all() for value in state.values())


def wait_for(condition, process, seconds=60):
    """Wait until a condition holds, and fail where the process ended before."""
    end = time.monotonic() + seconds
    try:
        while not condition():
            assert process.is_alive()
            assert time.monotonic() < end
            time.sleep(0.01)
    except BaseException:
        process.kill()  # else it trains on after a failed test
        raise


def test_a_killed_run_goes_on_from_its_last_checkpoint(distill, recordings, tiny, tmp_path):
    """A run killed between checkpoints resumes, and every step is recorded once."""
    folder = tmp_path / "run"
    often = ("--set", "training.checkpoint_minutes=0.001", "--set", "training.evaluations=1")
    words = ["train", recordings, "--loss", "recon,kl", *tiny, *often, "--steps", 100_000, "--out", folder]
    process = Forked(tmp_path, *words).process

    def is_well_under_way():
        saved = checkpoint_paths(folder / "checkpoints")
        return len(saved) == 3 and len([*Run(folder).read_metrics()]) > max(saved)

    wait_for(is_well_under_way, process)
    process.kill()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    saved = max(checkpoint_paths(folder / "checkpoints"))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 99')  # a line that was cut short
    result = distill("train", "--resume", "--out", folder, "--steps", saved + 3)
    assert result.status == 0
    assert result.err.startswith(f"Warning: {folder}: its lock was left behind by process {process.pid} on ")
    assert result.err.count("\n") == 1
    assert steps(folder) == [*range(1, saved + 4)]
    assert not [path for path in folder.rglob("*") if "partial" in path.name]


def test_no_pairs_are_left_where_none_are_asked_for(distill, recordings, tiny, tmp_path):
    """A run without pairs writes no sounds and mentions none."""
    words = ("--loss", "recon,kl", *tiny, "--set", "training.pairs=0", "--steps", 1)
    result = distill("train", recordings, *words, "--out", tmp_path / "run")
    assert result.status == 0
    assert not (tmp_path / "run" / "audio").exists()
    assert "\nDone.\nNext:\n" in result.out


def begun(distill, trained, recordings, tiny, out, *words):
    """Train on from the tiny run for four steps; return what was printed and the model's weights."""
    begin = ("--set", f"training.start={trained.folder}", "--set", "training.pairs=0")
    result = distill(
        "train", recordings, "--loss", "recon,kl", *tiny, *begin, "--steps", 4, "--out", out, *words
    )
    assert (result.status, result.err) == (0, "")
    return result.out, load_state(out / "model.safetensors")


def test_a_run_that_began_with_a_model_keeps_what_does_no_harm(distill, trained, recordings, tiny, tmp_path):
    """It keeps that model, too, and says how much of the training is kept, and how that was judged."""
    printed, _ = begun(distill, trained, recordings, tiny, tmp_path / "run")
    start = load_state(tmp_path / "run" / "start.safetensors")
    assert all(
        torch.equal(tensor, start[name])
        for name, tensor in load_state(trained.folder / "model.safetensors").items()
    )
    assert "which measured best on 5 recordings." in printed


def test_how_much_is_kept_can_be_set(distill, trained, recordings, tiny, tmp_path):
    """A share of 0 keeps the first model, and 0.5 is half way to the model of share 1."""
    weights = []
    for keep, kept in ((0, "nothing"), (0.5, "50%"), (1, "100%")):
        words = ("--set", f"training.keep={keep}")
        printed, state = begun(distill, trained, recordings, tiny, tmp_path / f"{keep}", *words)
        assert f"Kept {kept} of the training, as training.keep says" in printed
        weights.append(state["patch_out.weight"])
    assert torch.equal(weights[0], load_state(trained.folder / "model.safetensors")["patch_out.weight"])
    assert not torch.equal(weights[0], weights[2])
    torch.testing.assert_close(weights[1], (weights[0] + weights[2]) / 2)


def test_a_run_that_began_with_nothing_keeps_all(trained):
    """It has no model that it began with, and says nothing of it."""
    assert not (trained.folder / "start.safetensors").exists()
    assert "Kept " not in trained.out


def test_a_share_to_keep_of_random_weights_is_told_of(distill, recordings, tiny, tmp_path):
    """A run that begins with random weights keeps all of its training, whatever is asked for, and says so."""

    def trained_with(*words):
        result = distill("train", *words)
        assert result.status == 0
        return result.err, load_state(tmp_path / words[-1] / "model.safetensors")["patch_out.weight"]

    new = (recordings, "--loss", "recon,kl", *tiny, "--set", "training.pairs=0", "--steps", 1)
    _, expected = trained_with(*new, "--out", tmp_path / "one")
    said, weights = trained_with(*new, "--set", "training.keep=0", "--out", tmp_path / "other")
    effect = "has no effect: a run that begins with random weights keeps all of its training.\n"
    assert said == f"Warning: training.keep = 0 {effect}"
    assert torch.equal(weights, expected)
    resumed = ("--resume", "--steps", 2, "--set", "training.keep={}", "--out", tmp_path / "other")
    for keep, expected_words in (("0.5", f"Warning: training.keep = 0.5 {effect}"), ("1", "")):
        said, _ = trained_with(*(str(word).format(keep) for word in resumed))
        assert said == expected_words


def test_layers_that_the_code_has_not_are_told_of(distill, recordings, tiny, tmp_path):
    """A rich code has no hidden layers of its own, whatever is set, and a new run says so."""
    rich = ("model.latents_per_second=100000", "model.joint_width=8", "training.pairs=0")
    options = (*tiny, *(word for each in rich for word in ("--set", each)), "--steps", 1)
    result = distill("train", recordings, "--loss", "recon,kl", *options, "--out", tmp_path / "run")
    together = "only a code smaller than the rich one, such as model.code = compact, codes frames together."
    expected = "".join(
        f"Warning: {option} has no effect: {together}\n"
        for option in ("model.joint_frames = 2", "model.joint_width = 8")
    )
    assert (result.status, result.err) == (0, expected)


def test_a_run_that_is_resumed_keeps_the_model_it_began_with(distill, trained, recordings, tiny, tmp_path):
    """What is learnt later is measured by that, too, wherever that model is by then."""
    shutil.copytree(trained.folder, tmp_path / "first")
    moved = type(trained)(folder=tmp_path / "first")
    begun(distill, moved, recordings, tiny, tmp_path / "run")
    shutil.rmtree(tmp_path / "first")
    words = ("--resume", "--out", tmp_path / "run", "--steps", 6, "--set", "training.keep=0")
    assert distill("train", *words).status == 0
    state = load_state(tmp_path / "run" / "model.safetensors")
    assert torch.equal(
        state["patch_out.weight"], load_state(trained.folder / "model.safetensors")["patch_out.weight"]
    )


def test_nothing_to_learn(distill, recordings, tiny, tmp_path):
    """A frozen encoder with no term on the decoder's output is refused with a message."""
    words = ("--loss", "kl", *tiny, "--set", "training.encoder_rate=0", "--out", tmp_path / "run")
    result = distill("train", recordings, *words, "--steps", 2)
    assert result.status == 2
    assert result.err == (
        "Error: loss: no term depends on the decoder's output, and the encoder is frozen, so that nothing "
        "would be trained; add a term such as stft, or set training.encoder_rate = 1\n"
    )

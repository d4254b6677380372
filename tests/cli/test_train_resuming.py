"""Tests of `distill train --resume`."""

import json
import re
import shutil
import tomllib

import pytest

pytestmark = pytest.mark.usefixtures("only_built_in")


def read_recipe(folder):
    """Read a run's recipe as plain data."""
    return tomllib.loads((folder / "recipe.toml").read_text())


@pytest.fixture(scope="module")
def finished(distill, recordings, tmp_path_factory, tiny):
    """Train two steps of a run that is not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    words = ("--loss", "recon,kl", *tiny, "--steps", 2, "--out", folder)
    assert distill("train", recordings, *words).status == 0
    return folder


class TestResuming:
    """`--resume` goes on with a run that is finished, made longer, or given another recipe."""

    @pytest.fixture
    def run(self, finished, here):
        """Copy that run, so that a test may change it."""
        return shutil.copytree(finished, here / "run")

    def steps(self, run):
        """Return the steps whose training was recorded."""
        records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        return [record["step"] for record in records if record["split"] == "train"]

    def test_a_finished_run_stays_as_it_is(self, distill, run):
        """The command says that the run is finished, and how to go on."""
        before = {path: (run / path).read_bytes() for path in ("model.safetensors", "metrics.jsonl")}
        result = distill("train", "--resume", "--out", "run")
        assert (result.status, result.err) == (0, "")
        assert (
            "The training was finished already, at step 2. To train for longer, pass the time in all:\n"
            "  distill train --resume --out run --minutes M\n"
        ) in result.out
        assert {path: (run / path).read_bytes() for path in before} == before

    def test_a_folder_in_the_place_of_the_records_is_one_message(self, distill, run):
        """Nothing is resumed, and the message names it."""
        (run / "metrics.jsonl").unlink()
        (run / "metrics.jsonl").mkdir()
        result = distill("train", "--resume", "--out", "run", "--steps", 4)
        problem = f"{run.name}/metrics.jsonl: is not an ordinary file"
        assert (result.status, problem in result.err) == (2, True)

    @pytest.mark.parametrize(
        ("name", "status"),
        [
            ("split.json", 2),
            ("outcome.json", 2),
            ("model.safetensors", 2),
            ("latents.safetensors", 2),
            ("baselines.safetensors", 2),
            ("skipped.txt", 0),
        ],
    )
    def test_a_folder_in_the_place_of_a_file_is_one_message(self, distill, run, name, status):
        """The message names it, unless nothing is to be written there."""
        (run / name).unlink(missing_ok=True)
        (run / name).mkdir()
        result = distill("train", "--resume", "--out", "run", "--steps", 4)
        assert (result.status, name in result.err) == (status, status == 2)

    def test_more_steps_go_on(self, distill, run):
        """The run goes on from where it stopped, and the recipe holds the new length."""
        result = distill("train", "--resume", "--out", "run", "--steps", 4)
        assert (result.status, result.err) == (0, "")
        assert "finished already" not in result.out
        assert self.steps(run) == [1, 2, 3, 4]
        assert read_recipe(run)["training"]["steps"] == 4

    def test_minutes_may_follow_steps(self, distill, run):
        """The length may change its kind: the time trained before counts, and here it is enough."""
        result = distill("train", "--resume", "--out", "run", "--minutes", 1e-6)
        assert (result.status, result.err) == (0, "")
        assert read_recipe(run)["training"]["minutes"] == 1e-6
        assert "steps" not in read_recipe(run)["training"]
        assert "finished already, at step 2" in result.out

    def test_a_run_that_was_stopped_before_its_first_checkpoint_begins_anew(self, distill, run):
        """No step is recorded twice."""
        shutil.rmtree(run / "checkpoints")
        for name in ("model.safetensors", "latents.safetensors"):
            (run / name).unlink()
        result = distill("train", "--resume", "--out", "run", "--steps", 3)
        assert (result.status, result.err) == (0, "")
        assert self.steps(run) == [1, 2, 3]

    @pytest.mark.parametrize("kept", ["model.safetensors", "latents.safetensors"])
    def test_a_trained_run_without_checkpoints_is_not_begun_anew(self, distill, run, kept):
        """The run is refused with one message, and what was trained stays as it is."""
        shutil.rmtree(run / "checkpoints")
        (run / ({"model.safetensors", "latents.safetensors"} - {kept}).pop()).unlink()
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        result = distill("train", "--resume", "--out", "run", "--steps", 3)
        assert (result.status, result.out) == (2, "")
        assert result.err == (
            f"Error: run: holds {kept}, and no checkpoint to go on from\n"
            "Restore checkpoints/ from a copy, or begin a new run with its model: "
            "distill train CORPUS --set training.start=run\n"
        )
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before

    def test_a_damaged_checkpoint_is_passed_over(self, distill, run):
        """The run resumes from the checkpoint before, and a warning names the damaged one."""
        newest = run / "checkpoints" / "step-00000009.safetensors"
        newest.write_bytes(b"cut short")
        result = distill("train", "--resume", "--out", "run", "--steps", 3)
        assert result.status == 0
        assert result.err == (
            "Warning: run/checkpoints/step-00000009.safetensors: "
            "the file is cut short, damaged, or not a safetensors file\n"
            "Restore it from a copy, or train again.\n"
        )
        assert self.steps(run) == [1, 2, 3]

    def test_the_same_words_may_be_given_again(self, distill, recordings, run):
        """An option that is repeated unchanged is accepted, and the device may be another."""
        words = ("--loss", "recon,kl", "--seed", 0, "--steps", 3, "--device", "auto", "--out", "run")
        result = distill("train", recordings, *words, "--resume")
        assert (result.status, result.err) == (0, "")
        assert self.steps(run) == [1, 2, 3]
        assert read_recipe(run)["training"]["device"] == "auto"

    def test_weights_may_change(self, distill, run):
        """Any option that sets a weight may change it, and the following steps use the new weight."""
        words = ("--set", "loss.recon.weight=0.75", "--set", "loss.kl.weight_max=0.5", "--steps", 4)
        result = distill("train", "--resume", "--out", "run", *words)
        assert (result.status, result.err) == (0, "")
        assert read_recipe(run)["loss"]["reconstruction"]["weight"] == 0.75
        records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
        weights = {r["step"]: r["weights"]["reconstruction"] for r in records if r["split"] == "train"}
        assert weights == pytest.approx({1: 0.1, 2: 0.1, 3: 0.75, 4: 0.75})

    def test_another_recipe_is_another_run(self, distill, run):
        """The message lists every path of the recipe that differs, and the run stays as it is."""
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        words = ("--seed", 5, "--set", "loss.kl.free_bits=3", "--steps", 9)
        result = distill("train", "--resume", "--out", "run", *words)
        assert (result.status, result.out) == (2, "")
        assert result.err == (
            "Error: run: a resumed run keeps its recipe, and this differs: "
            "loss.kl.free_bits, training.seed\n"
            "Leave it out, or start a new run. The weights may change, and of training the steps, minutes, "
            "device, keep, learning_rate, page, nonfinite, max_skipped, checkpoints, "
            "checkpoint_minutes, gradient_every, cuda_graphs.\n"
        )
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before

    def test_other_terms_are_another_run(self, distill, run):
        """The message names the options of the terms that were added and removed."""
        result = distill("train", "--resume", "--out", run, "--loss", "stft,recon,kl")
        assert result.status == 2
        assert "and this differs: loss.stft.engine, loss.stft.fft_sizes, " in result.err

    def test_a_recipe_that_was_edited_is_said(self, distill, run):
        """An edited recipe is refused until --accept-changes is given once."""
        recipe = run / "recipe.toml"
        recipe.write_text(recipe.read_text().replace("seed = 0", "seed = 5"))
        words = ("train", "--resume", "--out", "run", "--steps", 3)
        result = distill(*words)
        assert (result.status, result.out) == (2, "")
        assert result.err == (
            "Error: run/recipe.toml: is not the recipe that the run was trained with, and this differs: "
            "training.seed\n"
            "Restore the file as the training wrote it, or start a new run. To go on with these options, "
            "add --accept-changes (accept_changes=True in Python).\n"
        )
        assert distill(*words, "--accept-changes").status == 0
        assert distill(*words[:-1], 4).status == 0
        assert self.steps(run) == [1, 2, 3, 4]

    @pytest.mark.parametrize(
        ("option", "changed", "path"),
        [
            ("sample_rate = 8000", "sample_rate = 8001", "representation.sample_rate"),
            ("width = 16", "width = 24", "model.width"),
        ],
    )
    def test_a_model_is_not_changed_by_an_edited_recipe(self, distill, run, option, changed, path):
        """An edited model is refused even with --accept-changes."""
        recipe = run / "recipe.toml"
        assert option in recipe.read_text()
        recipe.write_text(recipe.read_text().replace(option, changed))
        result = distill("train", "--resume", "--out", "run", "--accept-changes")
        assert result.status == 2
        assert result.err == (
            "Error: run/recipe.toml: is not the recipe that the run was trained with, and this differs: "
            f"{path}\nRestore the file as the training wrote it, or start a new run.\n"
        )

    def test_an_option_may_be_changed_if_that_is_accepted(self, distill, run):
        """An option that is refused otherwise may be changed with --accept-changes."""
        words = ("train", "--resume", "--out", "run", "--set", "training.gain_db=3")
        assert distill(*words).status == 2
        assert distill(*words, "--accept-changes").status == 0
        assert read_recipe(run)["training"]["gain_db"] == 3

    @pytest.mark.parametrize("which", ["best", 3])
    def test_a_run_may_go_on_from_another_checkpoint(self, distill, run, which):
        """Later steps are repeated, and are in the metrics once."""
        words = ("train", "--resume", "--out", "run", "--steps")
        assert distill(*words, 4, "--set", "training.checkpoint_minutes=1e-9").status == 0
        result = distill(*words, 5, "--from", which)
        assert (result.status, result.err) == (0, "")
        assert self.steps(run) == [1, 2, 3, 4, 5]
        assert max(path.name for path in (run / "checkpoints").iterdir()) == "step-00000005.safetensors"

    def test_a_run_is_finished_with_its_best_checkpoint(self, distill, run):
        """A run ends at an earlier checkpoint if `--steps` is the step of that one; nothing is trained."""
        result = distill("train", "--resume", "--out", "run", "--from", 2, "--steps", 2)
        assert (result.status, result.err) == (0, "")
        assert "finished already, at step 2" in result.out
        assert self.steps(run) == [1, 2]

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--from", "best"], "Error: --from needs --resume.\n"),
            (["--accept-changes"], "Error: --accept-changes needs --resume.\n"),
            (
                ["--accept-changes", "--from", "best"],
                "Error: --from and --accept-changes need --resume.\n",
            ),
            (
                ["--resume", "--from", "worst"],
                "Error: checkpoint: expected 'best', 'last' or the step of a checkpoint, got 'worst'\n",
            ),
            (
                ["--resume", "--from", "7"],
                (
                    "Error: run/checkpoints: there is no checkpoint of step 7\n"
                    "Pass the step of another one, 2, or 'last'.\n"
                ),
            ),
        ],
    )
    def test_a_checkpoint_that_cannot_be_chosen(self, distill, run, words, message):
        """A checkpoint that cannot be chosen is refused with one message and status 2."""
        result = distill("train", "--out", run.name, *words)
        assert (result.status, result.out) == (2, "")
        assert result.err.endswith(message)


@pytest.mark.parametrize(
    "words",
    [
        "train --resume --steps 3 --out run",
        "train --repeat-batch --out run",
        "train --loss recon --set training.start=run",
        "losses profile --run run",
    ],
)
def test_a_recipe_of_another_version_is_named(distill, finished, here, tiny, words):
    """Each command that reads the recipe of a run names its file, and what to do."""
    recipe = shutil.copytree(finished, here / "run") / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("[representation]", "[representation]\nhue = 3", 1))
    result = distill(*words.split(), *(tiny if "start" in words else ()))
    first, remedy = result.err.removesuffix("\n").split("\n")
    assert (result.status, result.out) == (2, "")
    assert re.fullmatch(
        r"Error: (\S*/)?run/recipe\.toml: representation\.hue: unknown option, got 3; expected one of .*",
        first,
    )
    assert remedy == "Restore the file from a copy, or use the version of Distill that wrote it."

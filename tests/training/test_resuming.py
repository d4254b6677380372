"""Tests of distill.training.resuming: a run goes on with its checkpoint and recordings, or says why not."""

import json
import shutil
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import attrs
import pytest
import soundfile
import torch

import distill
from distill.errors import CorpusError, InputError, RunError
from distill.plugin.registry import Registry
from distill.recipe import read_recipe
from distill.storage.checkpoints import load_latest, load_state, save_checkpoint, save_state
from distill.storage.run import Run
from distill.training.resuming import Resuming
from distill.training.train import train


class Warned:
    """An observer that keeps warnings."""

    def __init__(self):
        self.warnings = []

    def warning(self, warning):
        """Keep a warning."""
        self.warnings.append((warning.about, str(warning)))

    def record(self, _):
        """Receive a record."""

    summary = done = record


@pytest.fixture(scope="module")
def begun(recordings, tiny_options, tmp_path_factory):
    """Train two steps on a copy of the recordings, and return the folder with both, not to be changed."""
    folder = tmp_path_factory.mktemp("begun")
    shutil.copytree(recordings, folder / "corpus")
    options = tiny_options | {"training.evaluations": 1, "corpus.heldout_fraction": 0.4}
    train(folder / "corpus", loss="recon,kl", options=options, steps=2, out=folder / "run")
    return folder


@pytest.fixture
def here(begun, tmp_path, monkeypatch):
    """Copy the run and its corpus to the working folder. The recipe names the first corpus."""
    shutil.copytree(begun, tmp_path, dirs_exist_ok=True)
    recipe = tmp_path / "run" / "recipe.toml"
    recipe.write_text(recipe.read_text().replace(str(begun), str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def go_on(steps=3, corpus=None, **options):
    """Resume the run, and return its warnings."""
    observer = Warned()
    train(corpus, out="run", resume=True, steps=steps, observer=observer, **options)
    return observer.warnings


def split():
    """Return the digests that are trained on, held out, and former."""
    told = json.loads(Path("run/split.json").read_text())
    return [{each["digest"] for each in told[name]} for name in ("train", "heldout", "former")]


def model():
    """Return the weights of the run's model."""
    return load_state(Path("run/model.safetensors"))


def test_each_record_of_a_short_run_is_there_once(recordings, tiny_options, tmp_path):
    """A run with fewer steps than evaluations has each record once after it is resumed."""
    options = tiny_options | {"training.evaluations": 20, "corpus.heldout_fraction": 0.4}
    train(recordings, loss="recon,kl", options=options, steps=2, out=tmp_path / "run")
    train(resume=True, steps=3, out=tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    records = [(each["step"], each["split"]) for each in map(json.loads, lines)]
    assert [step for step, split in records if split == "heldout"] == [1, 2, 3]


def test_a_corpus_that_was_moved_and_renamed_goes_on_exactly(here, begun, tmp_path):
    """A corpus with another place, names and formats gives the same weights."""
    shutil.copytree(begun / "run", tmp_path / "first")
    go_on()
    expected = model()
    shutil.rmtree("run")
    shutil.move("first", "run")
    moved = here / "elsewhere"
    moved.mkdir()
    for number, path in enumerate(sorted(Path("corpus").rglob("*.wav"), reverse=True)):
        soundfile.write(moved / f"{number}.flac", *soundfile.read(path, dtype="int16"))
    shutil.rmtree("corpus")
    assert go_on(corpus=moved) == []
    assert all(torch.equal(value, expected[name]) for name, value in model().items())
    assert f'path = "{moved}"' in Path("run/recipe.toml").read_text()


def test_a_corpus_that_is_gone_is_said(here):
    """The message names the missing corpus and the command that resumes with another folder."""
    shutil.rmtree("corpus")
    with pytest.raises(CorpusError) as caught:
        go_on()
    assert str(caught.value) == (
        f"{here / 'corpus'}: the corpus of the run is no longer there\n"
        "Pass the folder where it is now. Its recordings are compared by their digests: "
        "distill train FOLDER --resume --out run"
    )


def test_a_changed_corpus_is_said_and_may_be_accepted(here):
    """Accepted changes keep the held-out recordings, and the next resume asks nothing."""
    trained, heldout, _ = split()
    names = {each["name"]: each["digest"] for each in json.loads(Path("run/split.json").read_text())["train"]}
    gone = min(names)
    (here / "corpus" / gone).unlink()
    for number in range(2):
        soundfile.write(here / "corpus" / f"new{number}.wav", torch.rand(3000, 1).numpy() / 2, 8000)
    before = {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()}
    problem = (
        f"the recordings have changed since the run was trained: 1 missing: {gone}; 2 new: new0.wav, new1.wav"
    )
    with pytest.raises(CorpusError) as caught:
        go_on()
    assert str(caught.value) == (
        f"{here / 'corpus'}: {problem}\n"
        "Restore them, or add --accept-changes (accept_changes=True in Python) to go on with what is there. "
        "What was held out stays held out, and what was trained on stays trained on."
    )
    assert {path: path.read_bytes() for path in Path("run").rglob("*") if path.is_file()} == before
    assert go_on(accept_changes=True) == [("corpus", f"{here / 'corpus'}: {problem}")]
    after, held_now, former = split()
    assert heldout < held_now
    assert (former, trained - after) == ({names[gone]}, {names[gone]})
    assert len(load_latest(Run(here / "run").checkpoints).state["heldout_totals"]) == 0
    assert go_on(steps=4) == []
    assert split() == [after, held_now, former]


def test_a_run_without_a_checkpoint_begins_with_what_is_there(here):
    """A run without a checkpoint accepts any corpus, since it has trained on nothing."""
    for path in (*Path("run/checkpoints").iterdir(), *Path("run").glob("*.safetensors")):
        path.unlink()
    next((here / "corpus").glob("*.wav")).unlink()
    assert go_on(steps=1) == []
    assert [len(each) for each in split()] == [2, 2, 0]


def test_without_the_record_of_the_split_the_digests_decide(here):
    """Without a readable split file, digests tell whether the corpus is the same."""
    (here / "run" / "split.json").unlink()
    assert go_on() == []
    assert split()[2] == set()
    (here / "run" / "split.json").write_text("{")
    next((here / "corpus").glob("*.wav")).unlink()
    with pytest.raises(CorpusError) as caught:
        go_on(steps=4)
    assert caught.value.problem == (
        "the recordings or their split are not those that the run was trained with"
    )


@pytest.mark.usefixtures("here")
def test_a_split_that_was_edited_is_said():
    """A split file that was edited is refused, so that no held-out recording is trained on."""
    path = Path("run/split.json")
    told = json.loads(path.read_text())
    told["train"].append(told["heldout"].pop())
    path.write_text(json.dumps(told))
    with pytest.raises(CorpusError) as caught:
        go_on()
    assert caught.value.problem == (
        "the recordings or their split are not those that the run was trained with"
    )


def test_a_relative_place_is_made_absolute(recordings, tiny_options, tmp_path, monkeypatch):
    """The recipe keeps a relative corpus folder as an absolute path."""
    shutil.copytree(recordings, tmp_path / "base")
    monkeypatch.chdir(tmp_path)
    options = tiny_options | {"corpus.path": "base"}
    train(loss="recon,kl", options=options, steps=1, out="run")
    assert f'path = "{tmp_path / "base"}"' in Path("run/recipe.toml").read_text()


def older(state):
    """Return a state as Distill 0.2.0 saved it."""
    new = {"best", "evaluation_due", "window", "records", "made_with"}
    return {name: value for name, value in state.items() if name not in new}


def test_a_checkpoint_of_an_older_version_goes_on(here, begun):
    """A checkpoint of Distill 0.2.0 between two windows gives the same weights."""
    go_on()
    expected = model()
    shutil.rmtree("run")
    shutil.copytree(begun / "run", "run")
    path = here / "run" / "checkpoints" / "step-00000002.safetensors"
    save_state(path, older(load_state(path)))
    (path.parent / "best.safetensors").unlink()
    recipe = Path("run/recipe.toml")
    recipe.write_text(recipe.read_text().replace(str(begun), str(here)).replace("checkpoints = 3\n", ""))
    assert go_on() == []
    assert all(torch.equal(value, expected[name]) for name, value in model().items())


def test_a_run_goes_on_with_sources_that_are_not_installed(here, monkeypatch):
    """Versions come from the modules where no distribution is installed."""

    def unknown(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.Distribution.from_name", unknown)
    assert go_on() == []
    versions = load_latest(here / "run" / "checkpoints").state["made_with"]["versions"]
    assert versions == {"distill": distill.__version__, "torch": torch.__version__}


def test_a_state_of_another_machine_goes_on(here):
    """A state of another torch or device goes on with a warning for each difference."""
    path = here / "run" / "checkpoints" / "step-00000002.safetensors"
    made_with = {"versions": {"torch": "1.0"}}
    save_state(path, load_state(path) | {"noise": torch.zeros(16, dtype=torch.uint8), "made_with": made_with})
    assert go_on() == [
        (
            "checkpoint",
            (
                f"The checkpoint was made with torch 1.0, and this is {torch.__version__}. The run goes on, "
                "and may differ in rounding from one that was never stopped."
            ),
        ),
        (
            "checkpoint",
            (
                "The checkpoint holds the state of another device's random numbers. The run goes on with "
                "other noise than one that was never stopped."
            ),
        ),
    ]


@pytest.mark.parametrize(
    ("name", "others"),
    [
        ("seconds", [None, "3", -1, float("nan"), True]),
        ("evaluations", [None, 1.5, "x", -1]),
        ("noise", [None, 3, torch.zeros(3)]),
        ("window", [3, [1], {}, {"first": "x"}]),
        ("records", [3, [1], [{}], [{"step": "x"}]]),
        ("made_with", [3, {"recipe": 3}, {"versions": [1]}]),
    ],
)
def test_a_state_that_is_not_whole_is_said(begun, tmp_path, name, others):
    """One message refuses a state in which something is missing or of another kind."""
    state = load_latest(Run(begun / "run").checkpoints).state
    run = Run(tmp_path)
    for other in others:
        save_checkpoint(run.checkpoints, 2, state | {name: other})
        with pytest.raises(RunError) as caught:
            Resuming().find_state(run, pytest.fail)
        assert str(caught.value) == (
            f"{run.checkpoints}: the checkpoint of step 2 does not hold the whole state of a training run\n"
            "Restore it from a copy, or train again."
        )


def test_the_model_that_a_run_began_with_is_needed(tmp_path, recordings):
    """A missing start model is refused before a step; the message names file and remedy."""
    draft = read_recipe({"corpus": {"path": str(recordings)}}, Registry(discover=False), loss="recon,kl")
    begun = attrs.evolve(draft, recipe=attrs.evolve(draft.recipe, provenance={"training.start": "base sha"}))
    run = Run(tmp_path)
    with pytest.raises(RunError) as caught:
        Resuming().require_unchanged(begun, run, {"step": 1})
    assert str(caught.value) == (
        f"{run.start}: the model that the run began with is missing\n"
        "Restore it from a copy, or start a new run."
    )
    Resuming().require_unchanged(begun, run, None)
    Resuming().require_unchanged(draft, run, {"step": 1})


def test_only_a_resumed_run_has_a_checkpoint():
    """Options of a resumed run are refused without `resume=True`, and the message says so."""
    for words, name in (({"checkpoint": "best"}, "checkpoint"), ({"accept_changes": True}, "accept_changes")):
        with pytest.raises(InputError) as caught:
            train("nowhere", **words)
        assert str(caught.value) == f"{name}: only a resumed run has one: resume=True"


def test_the_default_is_the_newest_and_no_changes():
    """A resumed run takes the newest checkpoint and accepts no changes by default."""
    assert attrs.asdict(Resuming()) == {"checkpoint": None, "accept_changes": False}


def test_another_sample_rate_in_a_header_is_a_change(here):
    """The samples are the same, and do not sound the same."""
    path = next(path for path in sorted((here / "corpus").rglob("*.wav")) if path.is_file())
    samples, rate = soundfile.read(path, dtype="int16")
    soundfile.write(path, samples, 2 * rate, subtype="PCM_16")
    with pytest.raises(CorpusError) as caught:
        go_on()
    assert str(caught.value).startswith(
        f"{here / 'corpus'}: recordings have another sample rate or number of channels, with the same "
        "samples, than when the run was trained\nRestore them, or "
    )
    assert go_on(accept_changes=True)

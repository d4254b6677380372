"""Tests of distill.training.building: the loss and the corpus of a recipe."""

import shutil
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from distill import TermConfig, TermSpec, hookimpl
from distill.config.settings import CorpusSettings
from distill.errors import RunError
from distill.loss.composing import compose
from distill.storage.checkpoints import save_checkpoint
from distill.storage.run import Run
from distill.testing import registry_with
from distill.training.building import load_terms, open_recipe_corpus


@pytest.fixture
def run(trained, tmp_path):
    """Copy the trained run, to be damaged."""
    return Run(shutil.copytree(trained.folder, tmp_path / "run"))


def test_corpora_have_caches_of_their_own(recordings, tmp_path):
    """Runs on two corpora, or at two rates, do not decode in turn; the corpus's own folder stays clean."""
    settings = CorpusSettings(path=str(recordings), heldout_fraction=0.2)
    calls = []
    for rate in (8000, 4000, 8000, 4000):
        corpus = open_recipe_corpus(settings, rate, tmp_path, lambda *done: calls.append(done))
        assert corpus.sample_rate == rate
        assert len(corpus.heldout.recordings) == 1
    assert len(calls) == 2 * 5
    assert {path.name for path in tmp_path.iterdir()} == {".distill"}
    assert [path for path in recordings.rglob("*") if path.suffix not in (".wav", "")] == []


def test_without_a_path_the_demo_corpus_is_written_and_opened(tmp_path):
    """The demo corpus has 24 sounds of two seconds and is written beside the runs."""
    corpus = open_recipe_corpus(CorpusSettings(heldout_fraction=0.1), 8000, tmp_path)
    assert corpus.folder == tmp_path / ".distill" / "demo"
    assert len(corpus.train.recordings) + len(corpus.heldout.recordings) == 24
    assert corpus.train.seconds + corpus.heldout.seconds == pytest.approx(48, abs=0.1)


def test_a_sharded_corpus_is_streamed(shards, tmp_path):
    """A stream has the recipe's settings and its share of the processes, and caches nothing decoded."""
    settings = CorpusSettings(path=f"{shards}/", pool_shards=2)
    corpus = open_recipe_corpus(settings, 8000, tmp_path, seed=5, process=1, processes=2)
    stream = corpus.train
    assert (stream.seed, stream.process, stream.processes, stream.pool_shards) == (5, 1, 2, 2)
    assert corpus.folder == str(shards)
    assert list(tmp_path.iterdir()) == []


class Judge(nn.Module):
    """A term that learns as many numbers as it is told."""

    def __init__(self, size):
        super().__init__()
        self.learnt = nn.Parameter(torch.zeros(size))


def judging(size, *names):
    """Compose a loss of such terms."""
    specs = [
        TermSpec(name=name, config=TermConfig, build=lambda _: Judge(size), summary="") for name in names
    ]
    return compose(names, registry=registry_with(SimpleNamespace(distill_loss_terms=hookimpl(lambda: specs))))


@pytest.mark.parametrize("prefix", ["terms.", "terms.term_"])
def test_terms_have_what_they_learnt_in_a_run(run, prefix):
    """Terms load the state that the run has of them; a term without one stays as it was built."""
    state = {f"{prefix}old.learnt": torch.ones(3), f"{prefix}gone.learnt": torch.ones(3)}
    save_checkpoint(run.checkpoints, 9, {"loss": state})
    loss = judging(3, "old", "new")
    load_terms(run, loss)
    assert [term.learnt.tolist() for term in loss.terms.values()] == [[1, 1, 1], [0, 0, 0]]


def test_terms_with_other_options_have_not_learnt_in_the_run(run):
    """The message names the run and says that the options of its terms differ."""
    save_checkpoint(run.checkpoints, 9, {"loss": {"terms.term_old.learnt": torch.ones(3)}})
    with pytest.raises(RunError) as caught:
        load_terms(run, judging(4, "old"))
    assert str(caught.value) == (
        f"{run.folder}: its terms were trained with other options than they have here\n"
        "Leave these options as the run has them."
    )

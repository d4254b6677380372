"""What the tests of the trainer share: a trainer that remembers what it reported."""

import pytest

from distill import TermConfig, TermSpec, hookimpl
from distill.audio.corpus import open_corpus
from distill.plugin.registry import Registry
from distill.recipe import read_recipe
from distill.training.trainer import Trainer


class RememberingTrainer(Trainer):
    """A trainer that keeps its records and warnings."""

    def __init__(self, *arguments, on_record, **options):
        self.records, self.warnings, self.on_record = [], [], on_record
        super().__init__(*arguments, **options, report=self.remember, warn=self.be_warned)

    def be_warned(self, _, message):
        """Keep a warning."""
        self.warnings.append(message)

    def remember(self, record):
        """Keep a record, and let the test see it as it comes."""
        self.records.append(record)
        self.on_record(record)

    def recorded(self, split="train"):
        """Return step and components of the records of a split."""
        return [(record.step, record.components) for record in self.records if record.split == split]

    def model_state(self):
        """Copy the state of the model."""
        return {name: value.clone() for name, value in self.vae.state_dict().items()}


class Plugin:
    """A plugin with one term, built from its class."""

    def __init__(self, term):
        self.term = term

    @hookimpl
    def distill_loss_terms(self):
        """Yield it under the name of its class."""
        config = getattr(self.term, "config", TermConfig)
        yield TermSpec(name=self.term.__name__.lower(), config=config, build=self.term, summary="")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Return a folder for the decoded recordings."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def corpus(recordings, cache):
    """Open the tiny recordings, one of five held out."""
    return open_corpus(recordings, sample_rate=8000, cache=cache, heldout_fraction=0.2)


@pytest.fixture
def make(tiny_tree, corpus, tmp_path, assemble):
    """Make a trainer with the tiny recipe, `recon,kl` and terms given as classes."""

    def make(
        *terms, folder="run", corpus=corpus, on_record=lambda _: None, model=(), balance=None, **training
    ):
        registry = Registry(discover=False)
        for term in terms:
            registry.register(Plugin(term), name=f"{term.__name__.lower()}-losses", version="1")
        names = ["recon", "kl", *(term.__name__.lower() for term in terms)]
        tree = {**tiny_tree, "training": tiny_tree["training"] | training}
        tree["model"] = tree["model"] | dict(model)
        draft = read_recipe(tree, registry, loss=",".join(names), balance=balance)
        return assemble(RememberingTrainer, draft, corpus, tmp_path / folder, on_record=on_record)

    return make

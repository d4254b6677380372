"""Tests of distill.recipe: the whole recipe from TOML and back, and what does not fit in it."""

import re
import tomllib

import attrs
import pytest
from attrs import field, frozen
from recipes import chosen, problems

import distill
from distill import BalancerConfig, BalancerSpec, TermConfig, TermSpec, hookimpl
from distill.config import parse_assignment
from distill.errors import ConfigError, RunError, TermError
from distill.plugin.registry import Registry
from distill.recipe import DEFAULT_LOSS, differences, read_recipe

OURS = f"distill {distill.__version__}"


@frozen(kw_only=True)
class BandConfig(TermConfig):
    """The options of a term of somebody else's."""

    bands: int = field(default=8, metadata={"help": "how many"})


class BandPlugin:
    """A distribution's plugin with one term."""

    @hookimpl
    def distill_loss_terms(self):
        """Yield it."""
        yield TermSpec(name="band_energy", aliases=("bands",), config=BandConfig, build="a:B", summary="")


@pytest.fixture
def registry():
    """Return a registry with the built-in terms and one of the distribution `band-losses` 1.5."""
    registry = Registry(discover=False)
    registry.register(BandPlugin(), name="band-losses", version="1.5")
    return registry


def test_a_recipe_has_the_number_of_joint_frames(registry):
    """What depends on the transform is written as a number, since a recipe without it has single frames."""
    draft = read_recipe({}, registry, assignments=[("representation.hop", 1024)])
    assert draft.recipe.model.joint_frames == 4
    assert "\njoint_frames = 4" in draft.recipe.to_toml()
    assert read_recipe({"model": {"joint_frames": 3}}, registry).recipe.model.joint_frames == 3


def test_a_recipe_has_the_width_of_the_layers_of_its_code(registry):
    """The compact code of the base has hidden layers; a changed one has none unless asked for."""

    def width(transform=(), **options):
        tree = {"model": options, "representation": dict(transform)}
        return read_recipe(tree, registry).recipe.model.joint_width

    assert width(code="compact") == 768
    assert (
        width() == width(code="compact", latents_per_second=100) == width(code="compact", joint_frames=4) == 0
    )
    assert width(code="compact", joint_frames=4, joint_width=64) == 64
    for transform in ({"sample_rate": 48_000}, {"n_fft": 4096}, {"hop": 480}):
        assert width(transform, code="compact") == 0
        assert width(transform, code="compact", joint_width=512) == 512


def test_a_recipe_survives_toml(registry, tiny_tree):
    """What is written is read back equal, with the values that were set, and says how it is used."""
    tree = {**tiny_tree, "loss": {"stft": {"weight": 2.5}, "bands": {"bands": 3}}}
    draft = read_recipe(tree, registry)
    text = draft.recipe.to_toml()
    assert text.startswith("# A Distill recipe: distill train --config FILE\n")
    again = read_recipe(tomllib.loads(text), registry)
    assert attrs.asdict(again.recipe) == attrs.asdict(draft.recipe)
    assert chosen(again) == ["stft", "band_energy"]
    assert again.recipe.loss.stft.weight == 2.5
    assert again.recipe.loss.band_energy.bands == 3
    assert again.recipe.representation.n_fft == 256


def test_every_option_is_written_with_its_help(registry):
    """TOML holds a comment beside each option, and one that is unset as a comment."""
    text = read_recipe({}, registry, loss="bands").recipe.to_toml()
    assert re.search(r"^bands = 8 +# how many$", text, re.MULTILINE)
    assert "# steps = <whole number>" in text


def test_the_terms_are_those_with_tables(registry):
    """Without a list of terms, a recipe's tables under `loss` choose them; with none, the default does."""
    assert chosen(read_recipe({"loss": {"kl": {}, "stft": {}}}, registry)) == ["kl", "stft"]
    assert chosen(read_recipe({}, registry)) == list(DEFAULT_LOSS)
    assert chosen(read_recipe({"loss": {}}, registry)) == list(DEFAULT_LOSS)


def test_a_list_of_terms_goes_before_tables(registry):
    """Terms that are asked for need no table."""
    draft = read_recipe({"loss": {"kl": {"free_bits": 0.2}}}, registry, loss="recon,kl")
    assert chosen(draft) == ["reconstruction", "kl"]
    assert draft.recipe.loss.kl.free_bits == 0.2


def test_a_table_of_a_term_that_is_not_chosen_is_an_error(registry):
    """A term which was not chosen has no address."""
    assert problems({"loss": {"stft": {"weight": 1.0}}}, registry, loss="waveform,kl") == [
        "loss.stft: the loss has waveform, kl; add this term with --loss"
    ]


def test_an_empty_list_of_terms_is_no_list(registry):
    """An empty list of terms is refused; only leaving it out chooses the default."""
    with pytest.raises(TermError, match=r"^no loss term is chosen\n"):
        read_recipe({}, registry, loss="")


def test_every_problem_is_reported_at_once(registry):
    """Each has the path, the value and what was expected, the loss's and the others' alike."""
    tree = {
        "loss": {"stft": {"wieght": 2.0}, "kl": {"free_bits": "some"}},
        "training": {"steps": 0, "free_bits": 0.1},
        "modle": {"width": 8},
        "corpus": {"heldout_fraction": 1},
    }
    assert problems(tree, registry) == [
        "training.free_bits: is set as loss.kl.free_bits too; keep the latter",
        "loss.stft.wieght: unknown option, got 2.0; did you mean 'weight'?",
        'loss.kl.free_bits: expected a number, got "some"',
        "modle: unknown option, got a table; did you mean 'model'?",
        "corpus.heldout_fraction: must be < 1, got 1",
        "training.steps: must be >= 1, got 0",
    ]


@pytest.mark.parametrize("name", ["loss", "provenance"])
def test_what_must_be_a_table_is_one(name):
    """A value where a table belongs is a problem, not a traceback."""
    assert problems({name: 3}) == [f"{name}: expected a table, got 3"]


def test_a_term_that_is_not_a_table():
    """A term that is not a table is a problem, not a traceback, also where an old option is moved into it."""
    assert problems({"loss": {"kl": 3}, "training": {"free_bits": 0.1}}) == [
        "loss.kl: expected a table, got 3"
    ]
    assert problems({"training": 3}) == ["training: expected a table, got 3"]


def test_provenance_is_recorded(registry):
    """The distribution and version of each term stand in the recipe, whatever was said there before."""
    tree = {"provenance": {"stft": "distill 0.0.1", "gone": "other 1"}, "loss": {"stft": {}, "bands": {}}}
    draft = read_recipe(tree, registry)
    assert draft.recipe.provenance == {"stft": OURS, "band_energy": "band-losses 1.5"}


def test_a_recorded_term_comes_from_its_distribution(registry):
    """Where two distributions have a term of one name, a recipe means the one it was written with."""
    registry.register(BandPlugin(), name="rival", version="2")
    with pytest.raises(TermError, match=r"is provided by band-losses 1\.5 and by rival 2"):
        read_recipe({"loss": {"band_energy": {}}}, registry)
    tree = {"loss": {"band_energy": {}}, "provenance": {"band_energy": "rival 1.9"}}
    assert read_recipe(tree, registry).recipe.provenance == {"band_energy": "rival 2"}


def test_a_term_that_is_not_installed_is_named_with_its_distribution():
    """A run says what it needs, and how to get it; that is the user's to repair."""
    tree = {
        "loss": {"kl": {}, "band_energy": {}, "sharpness": {}},
        "provenance": {"kl": OURS, "band_energy": "band-losses 1.5", "sharpness": "sharp 0.2"},
    }
    with pytest.raises(RunError) as caught:
        read_recipe(tree, Registry(discover=False))
    assert str(caught.value) == (
        "recipe: it needs loss terms that are not installed: "
        "'band_energy' of band-losses 1.5, 'sharpness' of sharp 0.2\n"
        "Install them: pip install band-losses==1.5 sharp==0.2"
    )
    assert caught.value.exit_status == 2


def test_an_unknown_term_without_provenance_is_a_misspelling():
    """It is reported with a suggestion and the list."""
    with pytest.raises(TermError) as caught:
        read_recipe({"loss": {"stfd": {}}}, Registry(discover=False))
    assert str(caught.value) == (
        "unknown loss term 'stfd'; did you mean 'stft'?\n"
        "Choose from: stft, reconstruction or recon, kl, waveform"
    )


def test_problems_beside_an_unknown_term_are_told_at_once():
    """All problems are in one message, apart from those of options of what is missing."""
    tree = {"loss": {"sftf": {"weight": "x"}, "stft": {"weight": "x"}}, "balancing": {"gradent": {"x": 1}}}
    with pytest.raises(TermError) as caught:
        read_recipe(
            tree,
            Registry(discover=False),
            assignments=[("training.steps", -3), ("sftf.share", 1), ("model.width", "y")],
        )
    assert str(caught.value) == (
        "unknown loss term 'sftf'; did you mean 'stft'?\n"
        "unknown balancer 'gradent'; did you mean 'gradient'?\n"
        'loss.stft.weight: expected a number, got "x"\n'
        'model.width: expected a whole number, got "y"\n'
        "training.steps: must be >= 1, got -3\n"
        "Choose from: stft, reconstruction or recon, kl, waveform\n"
        "Choose from: gradient"
    )


def test_differences_name_paths(registry):
    """Values that changed, were added or went are named; where a term comes from is no difference."""
    before = read_recipe({"loss": {"stft": {}, "kl": {}}, "training": {"steps": 3}}, registry).recipe
    after = read_recipe({"loss": {"stft": {"weight": 3.0}}, "training": {"minutes": 1}}, registry).recipe
    assert differences(before, before) == []
    assert differences(before, attrs.evolve(before, provenance={"stft": "distill 0"})) == []
    assert differences(before, after) == [
        "loss.kl.free_bits",
        "loss.kl.warmup_fraction",
        "loss.kl.weight_max",
        "loss.stft.weight",
        "training.minutes",
        "training.steps",
    ]


@frozen(kw_only=True)
class EvenConfig(BalancerConfig):
    """The options of a balancer of somebody else's."""

    grip: float = field(default=0.5, metadata={"help": "how hard"})


class EvenPlugin:
    """A distribution's plugin with one balancer."""

    @hookimpl
    def distill_balancers(self):
        """Yield it."""
        yield BalancerSpec(name="even", config=EvenConfig, build="a:B", summary="")


def test_without_a_balancer_there_is_none(registry):
    """A recipe has no balancer, but fixed weights, unless one is chosen."""
    draft = read_recipe({}, registry)
    assert (draft.balancer, draft.recipe.balancing) == (None, {})


@pytest.mark.parametrize(
    ("tree", "options"),
    [
        ({}, {"balance": "even", "assignments": [("balancing.even.grip", 0.25)]}),
        ({"balancing": {"even": {"grip": 0.25}}}, {}),
        ({"balancing": {"even": {"grip": 0.25}}}, {"balance": "even-weights:even"}),
    ],
)
def test_a_balancer_is_chosen_by_name_or_by_its_options(registry, tree, options):
    """A balancer is chosen as terms are, and a written recipe is read back equal, with its distribution."""
    registry.register(EvenPlugin(), name="even-weights", version="2")
    draft = read_recipe({"loss": {"kl": {}}, **tree}, registry, **options)
    assert draft.balancer is not None
    assert draft.balancer.origin == "even-weights 2"
    assert draft.recipe.balancing == {"even": EvenConfig(grip=0.25)}
    assert draft.recipe.provenance == {"kl": OURS, "balancing.even": "even-weights 2"}
    assert "[balancing.even]\ngrip = 0.25  # how hard\n" in draft.recipe.to_toml()
    again = read_recipe(tomllib.loads(draft.recipe.to_toml()), registry)
    assert differences(again.recipe, draft.recipe) == []


def test_balancers_that_do_not_fit_are_refused(registry):
    """Two balancers, options of one not chosen, and unknown options are refused with their address."""
    registry.register(EvenPlugin(), name="even-weights", version="2")
    two = {"balancing": {"even": {}, "gradient": {}}}
    assert problems(two, registry) == ["balancing: expected one balancer at most, got even, gradient"]
    assert problems(two, registry, balance="even") == [
        "balancing.gradient: the balancer 'even' is chosen; choose this one with --balance"
    ]
    assert problems({}, registry, assignments=[("balancing.gradient.decay", 0.5)]) == [
        "balancing.gradient: no balancer is chosen; choose this one with --balance"
    ]
    assert problems({"balancing": {"gradient": {"decai": 0.5}}}, registry) == [
        "balancing.gradient.decai: unknown option, got 0.5; did you mean 'decay'?"
    ]


def test_a_balancer_that_is_not_installed_is_named_with_its_distribution(registry):
    """A run that was trained with it says what to install."""
    tree = {"balancing": {"even": {}}, "provenance": {"balancing.even": "even-weights 2"}}
    with pytest.raises(RunError) as caught:
        read_recipe(tree, registry)
    assert str(caught.value) == (
        "recipe: it needs a balancer that is not installed: 'even' of even-weights 2\n"
        "Install them: pip install even-weights==2"
    )


class TestTermsOfPython:
    """Terms that are not installed, but given as specs."""

    SPEC = TermSpec(name="mine", config=BandConfig, build="a:B", summary="", aliases=("my",))
    LOSS = ("recon", SPEC)

    def test_a_spec_is_a_term(self, registry):
        """A spec is accepted among names, with options by its alias; the provenance names its module."""
        draft = read_recipe({}, registry, loss=self.LOSS, assignments=[("loss.my.bands", 3)])
        assert chosen(draft) == ["reconstruction", "mine"]
        assert draft.recipe.loss.mine.bands == 3
        assert draft.recipe.provenance == {"reconstruction": OURS, "mine": "python:a"}
        assert chosen(read_recipe({}, registry, loss=self.SPEC)) == ["mine"]

    def test_a_tree_names_it_again(self, registry):
        """A recipe read from a tree with the spec given beside it is the same."""
        recipe = read_recipe({}, registry, loss=self.LOSS).recipe
        tree = tomllib.loads(recipe.to_toml())
        assert read_recipe(tree, registry, specs=[self.SPEC]).recipe == recipe

    def test_it_is_missing(self):
        """One message names what must be given and what must be installed."""
        origins = {"mine": "python:__main__", "bands": "band-losses 1.5"}
        with pytest.raises(RunError) as caught:
            read_recipe({"loss": {"mine": {}, "bands": {}}, "provenance": origins}, Registry(discover=False))
        assert str(caught.value) == (
            "recipe: it needs loss terms that are not installed: 'bands' of band-losses 1.5; "
            "it needs loss terms that were given in Python: 'mine' of __main__\n"
            "Install them: pip install band-losses==1.5\n"
            "Pass each TermSpec again, in Python: distill.train(loss=[...], resume=True, out=...)"
        )

    def test_an_installed_term_of_its_name_is_another_one(self, registry):
        """A term given in Python is not replaced by an installed term of the same name."""
        tree = {"loss": {"band_energy": {}}, "provenance": {"band_energy": "python:__main__"}}
        with pytest.raises(RunError) as caught:
            read_recipe(tree, registry)
        assert "given in Python: 'band_energy' of __main__" in str(caught.value)


def test_text_that_no_file_can_hold_is_refused():
    """A path of bytes that are not UTF-8 is named with its option."""
    assert problems({}, loss="stft", assignments=[("training.start", "/runs/r\udce9n")]) == [
        "training.start: must be valid text (UTF-8), got '/runs/r\\udce9n'"
    ]


def test_an_address_may_leave_out_the_section_of_the_loss(registry):
    """An option of a chosen term is found by the term's name or alias, unless a section has that name."""
    draft = read_recipe(
        {}, registry, loss="recon,kl", assignments=[("recon.weight", 2.0), ("training.steps", 3)]
    )
    assert draft.recipe.loss.reconstruction.weight == 2.0
    assert draft.recipe.training.steps == 3
    assert problems({}, loss="recon", assignments=[("stft.weight", 2.0)]) == [
        (
            "stft: unknown option, got a table; expected one of loss, representation, model, corpus, "
            "training, balancing, provenance"
        )
    ]


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (
            "balancing=2 training=3 loss=1",
            (
                "loss: expected a table, got 1\nbalancing: expected a table, got 2\n"
                "training: expected a table, got 3"
            ),
        ),
        (
            "loss.kl=1 loss.kl.x=1 model=2 model.width=3",
            (
                "loss.kl.x: loss.kl is 1, not a table\nmodel.width: model is 2, not a table\n"
                "loss.kl: expected a table, got 1\nmodel: expected a table, got 2\n"
                "Set loss.kl itself, or remove it where it is set.\n"
                "Set model itself, or remove it where it is set."
            ),
        ),
    ],
)
def test_all_assignments_that_cannot_be_made_are_told(written, message):
    """The sections, and the addresses, that are not tables are told at once."""
    with pytest.raises(ConfigError) as caught:
        read_recipe({}, Registry(), assignments=map(parse_assignment, written.split()))
    assert str(caught.value) == message


def test_all_sections_that_are_no_tables_are_told():
    """A recipe whose sections are values has a line for each of those that choose terms and a balancer."""
    assert problems({"balancing": 1, "provenance": 2, "loss": 3}) == [
        "loss: expected a table, got 3",
        "provenance: expected a table, got 2",
        "balancing: expected a table, got 1",
    ]


@pytest.mark.parametrize(("written", "loss"), [("loss=1", None), ("loss=[1]", "stft"), ("loss=", "stft")])
def test_an_assignment_to_the_whole_loss(written, loss):
    """An assignment to the whole loss takes a table of terms only, as the message says."""
    with pytest.raises(ConfigError) as caught:
        read_recipe({}, Registry(), loss=loss, assignments=[parse_assignment(written)])
    value = {"loss=1": "1", "loss=[1]": "[1]", "loss=": '""'}[written]
    assert str(caught.value) == f"loss: expected a table, got {value}"

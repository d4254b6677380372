"""Tests of distill.plugin.registry: installed plugins, with real distributions on a path of their own."""

import importlib.metadata
import sys
import types
from pathlib import Path

import pytest

import distill
from distill.errors import TermError
from distill.plugin.registry import Registry

BUILT_IN = "stft, reconstruction or recon, kl, waveform"

HOOK = """
from distill import TermSpec, hookimpl
from distill.plugin.builtin_terms import StftConfig

@hookimpl
def distill_loss_terms():
    {body}
"""

PLUGIN = HOOK.format(
    body='yield TermSpec(name="{name}", aliases={aliases}, config=StftConfig, build="a:B", summary="")'
)


def write_distribution(site, name, entry_points, version="1.0"):
    """Write the metadata of an installed distribution."""
    folder = site / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    lines = [f"{entry_point} = {value}" for entry_point, value in entry_points.items()]
    (folder / "entry_points.txt").write_text("\n".join(["[distill]", *lines]))


@pytest.fixture
def site(tmp_path, monkeypatch):
    """Return a folder on `sys.path` that stands for site-packages; plugins elsewhere are not seen."""
    site = tmp_path / "site"
    site.mkdir()

    def entry_points_within(**selection):
        found = importlib.metadata.entry_points(**selection)
        return [point for point in found if tmp_path in Path(point.dist.locate_file("")).parents]

    monkeypatch.setattr("distill.plugin.selection.entry_points", entry_points_within)
    monkeypatch.syspath_prepend(site)
    before = set(sys.modules)
    yield site
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def install(site):
    """Return a function that installs a distribution of one module `source` under one entry point."""

    def install(name, source, *, entry_point="mine", version="1.0"):
        module = name.replace("-", "_")
        (site / f"{module}.py").write_text(source)
        write_distribution(site, name, {entry_point: module}, version)

    return install


def message(call, *arguments):
    """Return the whole message of the TermError that a call raises."""
    with pytest.raises(TermError) as caught:
        call(*arguments)
    return str(caught.value)


def test_an_installed_term_is_found_by_name_and_alias(install):
    """A third party's term is chosen as a built-in one is."""
    install("my-losses", PLUGIN.format(name="mine", aliases=("own",)), version="2.1")
    assert [str(term) for term in Registry().choose("stft,mine")] == [
        f"stft (distill {distill.__version__})",
        "mine (my-losses 2.1)",
    ]
    assert [term.name for term in Registry().choose("own")] == ["mine"]
    assert [term.name for term in Registry().terms()][4:] == ["mine"]


@pytest.mark.parametrize("written", ["my-losses", "My.Losses", "my__losses"])
def test_distribution_names_compare_normalized(install, written):
    """However a distribution's name is written, it is the same one (PEP 503)."""
    install("my-losses", PLUGIN.format(name="mine", aliases=()))
    assert [term.origin for term in Registry().choose(f"{written}:mine")] == ["my-losses 1.0"]


def test_a_plugin_is_not_imported_for_built_in_terms(install, site):
    """A broken plugin is not imported where built-in terms alone are chosen."""
    marker = site / "imported"
    install("my-losses", f"open({str(marker)!r}, 'w').close()\nraise RuntimeError('broken')")
    registry = Registry()
    registry.choose("stft,recon,kl,distill:waveform")
    assert not marker.exists()
    assert [plugin.distribution for plugin in registry.broken()] == ["my-losses"]
    assert marker.exists()


def test_discovery_can_be_turned_off(install):
    """A registry of one's own need not look at what is installed."""
    install("my-losses", PLUGIN.format(name="mine", aliases=()))
    assert len(Registry(discover=False).terms()) == 4
    assert message(Registry(discover=False).choose, "mine") == (
        f"unknown loss term 'mine'\nChoose from: {BUILT_IN}"
    )


OWN_NAME = "my_losses.distill_loss_terms.<locals>.Own"
ANNOTATED = HOOK.format(
    body="import attrs\n    @attrs.frozen(kw_only=True)\n    class Own(StftConfig): size: {annotation} = 1\n"
    '    yield TermSpec(name="mine", config=Own, build="a:B", summary="")'
)
OWN = "<class 'my_losses.distill_loss_terms.<locals>.Own'>"

BREAKAGE = {
    "import error": (
        "import module_that_is_not_there",
        "ModuleNotFoundError: No module named 'module_that_is_not_there'",
    ),
    "exit": ("import sys\nsys.exit('no licence')", "SystemExit: no licence"),
    "end of a generator": ("raise GeneratorExit", "GeneratorExit"),
    "interruption of its own": ("raise KeyboardInterrupt('mine')", "KeyboardInterrupt: mine"),
    "raising hook": (HOOK.format(body="raise RuntimeError('no\\n data')"), "RuntimeError: no data"),
    "no hook": (
        "x = 1",
        "none of its hooks, @hookimpl 'distill_loss_terms' or 'distill_balancers', yields a spec",
    ),
    "empty hook": (
        HOOK.format(body="return []"),
        "none of its hooks, @hookimpl 'distill_loss_terms' or 'distill_balancers', yields a spec",
    ),
    "misspelt hook": (
        HOOK.format(body="yield").replace("distill_loss_terms", "distill_loss_term"),
        "unknown hook 'distill_loss_term'; did you mean 'distill_loss_terms'?",
    ),
    "not a spec": (
        HOOK.format(body="yield 'mine'"),
        "'distill_loss_terms' yields 'mine', not a TermSpec",
    ),
    "invalid spec": (
        PLUGIN.format(name="My Term", aliases=()),
        ("'name' must be lower-case letters, digits and underscores, beginning with a letter: 'My Term'"),
    ),
    "config without attrs": (
        HOOK.format(
            body="class Own(StftConfig): pass\n"
            '    yield TermSpec(name="mine", config=Own, build="a:B", summary="")'
        ),
        f"'config' of 'mine' must be decorated with @attrs.frozen(kw_only=True): {OWN}",
    ),
    "annotation that cannot be resolved": (
        ANNOTATED.format(annotation="'itn'"),
        (
            f"{OWN_NAME}: an annotation cannot be resolved: name 'itn' is not defined. Its author can "
            "import the name at run time, not only under TYPE_CHECKING."
        ),
    ),
    "annotation that TOML has no values for": (
        ANNOTATED.format(annotation="complex"),
        (
            f"{OWN_NAME}.size: an option cannot be annotated <class 'complex'>. Its author can use int, "
            "float, str, bool, Path, Literal, tuple, dict[str, ...], attrs classes, and unions of these "
            "with None."
        ),
    ),
    "config of another class": (
        HOOK.format(body='yield TermSpec(name="mine", config=dict, build="a:B", summary="")'),
        "'config' of 'mine' must be a subclass of distill.TermConfig: <class 'dict'>",
    ),
    "reserved name": (
        PLUGIN.format(name="stft", aliases=()),
        f"the name 'stft' is taken by stft (distill {distill.__version__})",
    ),
    "reserved alias": (
        PLUGIN.format(name="mine", aliases=("recon",)),
        f"the name 'recon' is taken by reconstruction (distill {distill.__version__})",
    ),
    "one name twice": (
        PLUGIN.format(name="mine", aliases=("mine",)),
        "the name 'mine' is taken by mine (my-losses 1.0)",
    ),
}


@pytest.mark.parametrize(("source", "cause"), BREAKAGE.values(), ids=BREAKAGE)
def test_a_broken_plugin_is_recorded(install, source, cause):
    """A plugin that cannot be used is set aside with its provenance and its cause; the rest works."""
    install("my-losses", source)
    install("your-losses", PLUGIN.format(name="yours", aliases=()), entry_point="yours")
    registry = Registry()
    assert [term.name for term in registry.terms()] == ["stft", "reconstruction", "kl", "waveform", "yours"]
    assert [(b.distribution, b.version, b.entry_point, b.cause) for b in registry.broken()] == [
        ("my-losses", "1.0", "mine", cause)
    ]


@pytest.mark.parametrize(("source", "cause"), BREAKAGE.values(), ids=BREAKAGE)
def test_a_broken_plugin_is_fatal_when_it_is_needed(install, source, cause):
    """The message about a chosen term names the broken distribution, its version and the cause."""
    install("my-losses", source)
    for wanted in ("mine", "my-losses:mine"):
        assert message(Registry().choose, f"stft,{wanted}") == (
            f"my-losses 1.0: loss term 'mine' cannot be loaded: {cause}\n"
            f"Repair or uninstall my-losses, or choose from: {BUILT_IN}"
        )


def test_a_broken_plugin_is_fatal_to_every_term_it_declared(install):
    """A plugin that wants a reserved name cannot provide its other terms either."""
    install("my-losses", PLUGIN.format(name="extra", aliases=("kl",)))
    assert message(Registry().choose, "extra") == (
        "my-losses 1.0: loss term 'extra' cannot be loaded: the name 'kl' is taken by "
        f"kl (distill {distill.__version__})\n"
        f"Repair or uninstall my-losses, or choose from: {BUILT_IN}"
    )


def test_the_cause_of_a_broken_plugin_is_chained(install):
    """Its author sees the traceback of what went wrong."""
    install("my-losses", "raise RuntimeError('broken')")
    with pytest.raises(TermError) as caught:
        Registry().choose("mine")
    assert repr(caught.value.__cause__) == "RuntimeError('broken')"


@pytest.mark.parametrize("wanted", ["mel", "distill-mel:mel"])
def test_a_term_of_a_plugin_that_is_not_installed(install, wanted):
    """The message gives the command that installs a plugin that comes with Distill."""
    install("my-losses", PLUGIN.format(name="mine", aliases=()))
    assert message(Registry().choose, wanted) == (
        "loss term 'mel' belongs to distill-mel, which is not installed\n"
        "Install it from a clone of Distill: pip install ./plugins/distill-mel\n"
        f"Or choose from: {BUILT_IN}, mine"
    )


def test_an_unknown_term_may_belong_to_a_broken_plugin(install):
    """The message about an unknown term names broken plugins as a possible reason."""
    install("my-losses", "raise RuntimeError('broken')")
    assert message(Registry().choose, "flux") == (
        f"unknown loss term 'flux'\nChoose from: {BUILT_IN}\n"
        "It may belong to a plugin that cannot be loaded:\n"
        "  my-losses 1.0: RuntimeError: broken"
    )
    assert message(Registry().choose, "elsewhere:flux") == (
        "no installed distribution 'elsewhere' provides a loss term 'flux'\n"
        f"Install the one that does, or choose from: {BUILT_IN}"
    )


def test_a_working_term_does_not_wait_for_a_broken_plugin_of_its_name(install):
    """A term that is there is used, whatever another distribution called its entry point."""
    install("my-losses", "raise RuntimeError('broken')")
    install("your-losses", PLUGIN.format(name="mine", aliases=()), entry_point="yours")
    assert [term.origin for term in Registry().choose("mine")] == ["your-losses 1.0"]


@pytest.mark.parametrize("aliases", [(), ("other",)])
def test_a_name_of_two_distributions_must_be_told_apart(install, aliases):
    """Neither wins in silence: the error names both, and `dist:name` chooses."""
    name = "other" if aliases else "mine"
    install("my-losses", PLUGIN.format(name="mine", aliases=aliases))
    install("your-losses", PLUGIN.format(name=name, aliases=()), version="3.0")
    registry = Registry()
    assert message(registry.choose, name) == (
        f"loss term '{name}' is provided by my-losses 1.0 and by your-losses 3.0\n"
        f"Choose one: my-losses:{name} or your-losses:{name}"
    )
    assert [term.origin for term in registry.choose(f"your-losses:{name}")] == ["your-losses 3.0"]
    assert [term.origin for term in registry.choose(f"my-losses:{name}")] == ["my-losses 1.0"]


def test_two_terms_of_one_name_cannot_be_combined(install):
    """The result has one entry per name, whichever distribution it is from."""
    install("my-losses", PLUGIN.format(name="mine", aliases=()))
    install("your-losses", PLUGIN.format(name="mine", aliases=()))
    assert message(Registry().choose, "my-losses:mine,your-losses:mine") == (
        "loss term 'mine' is chosen twice in 'my-losses:mine,your-losses:mine', "
        "as 'my-losses:mine' and as 'your-losses:mine'; each is expected once\n"
        "Leave one out. If it is to count more, set its weight: mine.weight"
    )


def test_one_distribution_installed_twice_is_no_clash(install, tmp_path, monkeypatch):
    """An editable and a regular installation side by side are one: the first on the path."""
    install("my-losses", PLUGIN.format(name="mine", aliases=()), version="2.0")
    other = tmp_path / "other"
    write_distribution(other, "My_Losses", {"mine": "my_losses"}, version="1.0")
    monkeypatch.setattr(sys, "path", [*sys.path, str(other)])
    assert [term.origin for term in Registry().choose("mine")] == ["my-losses 2.0"]


def test_one_module_in_two_distributions_is_no_clash(install, site):
    """Two distributions that point to one module provide one plugin, without a clash."""
    install("my-losses", PLUGIN.format(name="mine", aliases=()))
    write_distribution(site, "bundle", {"own": "my_losses", "own_too": "my_losses"})
    registry = Registry()
    assert [term.origin for term in registry.choose("mine")] == ["my-losses 1.0"]
    assert registry.broken() == ()


def test_an_installed_term_clashes_with_one_registered_by_hand(install):
    """A name that is not built in is looked up among installed plugins too."""
    install("my-losses", PLUGIN.format(name="mine", aliases=()))
    registry = Registry()
    by_hand = types.ModuleType("by_hand")
    exec(PLUGIN.format(name="mine", aliases=()), vars(by_hand))  # noqa: S102  # the plugin above
    registry.register(by_hand, name="my-loop")
    assert message(registry.choose, "mine") == (
        "loss term 'mine' is provided by my-loop and by my-losses 1.0\n"
        "Choose one: my-loop:mine or my-losses:mine"
    )

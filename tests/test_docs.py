"""The pages in docs/ and those of the plugins say what is so: hooks, options, terms, commands."""

import importlib.util
import inspect
import re
from importlib.metadata import distributions
from pathlib import Path

import pytest

from distill import Registry, hookspecs
from distill.config.settings import ModelSettings, RepresentationSettings, TrainingSettings
from distill.model.building import make_model, make_representation
from distill.testing import loss_inputs
from distill.training.augmentation import drawn_samples
from distill.training.batches import clip_samples

ROOT = Path(__file__).parents[1]
RUN_ELSEWHERE = {ROOT / "docs" / "python.md"}
"""Pages whose code needs recordings, and is run by a test of its own."""

PAGES = [*sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("plugins/*/*.md"))]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))


def name(page):
    """Name a page as the index does."""
    return page.relative_to(ROOT).as_posix()


def code(page):
    """List a page's pieces of Python."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def options():
    """Load the script that writes the tables of options."""
    spec = importlib.util.spec_from_file_location("options", ROOT / "docs" / "options.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_hook_is_documented_with_its_signature():
    """A hook that is added must be added to docs/hooks.md, as it is called."""
    page = (ROOT / "docs" / "hooks.md").read_text(encoding="utf-8")
    hooks = [value for value in vars(hookspecs).values() if hasattr(value, f"{hookspecs.PROJECT}_spec")]
    assert len(hooks) == 2
    for hook in hooks:
        signature = re.sub(r"[a-z_.]+\.", "", str(inspect.signature(hook)))
        assert f"def {hook.__name__}{signature}: ..." in page


def test_tables_of_options_are_those_of_the_configs(options):
    """`python docs/options.py` would change nothing."""
    registry = Registry()
    for page in options.PAGES:
        text = page.read_text(encoding="utf-8")
        assert options.with_options(text, registry) == text, page


@pytest.mark.parametrize("term", ["stft", "reconstruction", "kl", "waveform"])
def test_every_built_in_term_has_a_page_with_its_options(term, options):
    """Every built-in term has a page, linked from the index, with a table that the script fills."""
    assert f"(terms/{term}.md)" in (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    page = (ROOT / "docs" / "terms" / f"{term}.md").read_text(encoding="utf-8")
    assert options.options_table(term, Registry()) in page


def test_every_plugin_has_a_page_in_the_index():
    """The index has each plugin, and each of its terms by name or by their common beginning."""
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    installed = {distribution.name for distribution in distributions()}
    for plugin in PLUGINS:
        assert f"../plugins/{plugin.name}/README.md" in index
        assert plugin.name in installed
        names = [term.name for term in Registry().terms() if term.is_from(plugin.name)]
        assert names
        for name in names:
            assert f"`{name}`" in index or f"`{name.partition('_')[0]}_...`" in index


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_every_term_of_a_plugin_has_its_options_there(plugin, options):
    """The options of each term stand in the plugin's README or in a page beside it."""
    pages = "".join(page.read_text(encoding="utf-8") for page in plugin.glob("*.md"))
    names = [term.name for term in Registry().terms() if term.is_from(plugin.name)]
    assert [name for name in names if options.options_table(name, Registry()) not in pages] == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if code(page) and page not in RUN_ELSEWHERE], ids=name
)
def test_code_runs(page):
    """The Python code of each page runs as it stands, with inputs such as a term gets."""
    names = {"inputs": loss_inputs()}
    for block in code(page):
        if not block.rstrip().endswith(": ..."):  # a signature, which is compared with the hook's above
            exec(block, names)  # noqa: S102  # our own pages


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    """No page points to a file that is not there."""
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_scaling_is_computed_for_the_default_clips_and_model():
    """The arithmetic of docs/scale.md begins with their sizes."""
    page = " ".join((ROOT / "docs" / "scale.md").read_text(encoding="utf-8").split())
    settings, representation = TrainingSettings(), make_representation(RepresentationSettings())
    model = make_model(ModelSettings(), representation, seed=0)
    samples = clip_samples(settings, representation, model)
    seconds = samples / representation.sample_rate
    drawn = drawn_samples(samples, settings.augmentation(begun=False)[0]) / representation.sample_rate
    parameters = sum(each.numel() for each in model.parameters())
    assert f"64 clips of {seconds:.2f} s ({64 * seconds:.1f} s of audio)" in page
    assert f"s/s * {seconds:.3f} / {drawn:.3f}" in page
    assert f"{parameters / 1e6:.2f} million, {4 * parameters / 1e6:.1f} MB" in page

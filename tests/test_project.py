"""The files that describe the project agree with each other and with the code."""

import re
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

import distill

ROOT = Path(__file__).parents[1]


def text(path):
    """Return the text of a file of the repository."""
    return (ROOT / path).read_text(encoding="utf-8")


def pinned(name):
    """Return the version of a package that constraints.txt allows."""
    return re.search(rf"^{re.escape(name)}==(\S+)$", text("constraints.txt"), re.MULTILINE)[1]


def numbers(version):
    """Return a version as numbers, to be compared."""
    return tuple(map(int, version.split(".")))


def test_the_version_is_the_same_everywhere():
    """The package, the newest release in the changelog and the citation agree on version and date."""
    version, date = re.search(r"^## \[(\d[\d.]*)\] - (\S+)$", text("CHANGELOG.md"), re.MULTILINE).groups()
    citation = text("CITATION.cff")
    assert re.search(r"^version: (\S+)$", citation, re.MULTILINE)[1] == distill.__version__ == version
    assert re.search(r'^date-released: "(\S+)"$', citation, re.MULTILINE)[1] == date


def test_what_was_to_be_removed_is_removed():
    """No message announces a removal by this version or an earlier one, as CONTRIBUTING.md promises."""
    announced = {
        (path.name, version)
        for path in (ROOT / "distill").rglob("*.py")
        for version in re.findall(r"removed in (\d+\.\d+\.\d+)", path.read_text(encoding="utf-8"))
    }
    assert announced
    assert [each for each in announced if numbers(each[1]) <= numbers(distill.__version__)] == []


def test_the_package_is_typed():
    """A type checker that meets `import distill` reads its annotations (PEP 561)."""
    assert files("distill").joinpath("py.typed").is_file()


def test_hooks_of_git_run_the_pinned_ruff():
    """The hooks of Git run the same version of ruff as CI."""
    versions = re.findall(r'"ruff==([^"]+)"', text(".pre-commit-config.yaml"))
    assert versions == [pinned("ruff")] * 2


@pytest.mark.parametrize(
    "extra", ["dev", "docs", "hearing", "play", "search", "shards", "slurm", "speech", "test"]
)
def test_what_an_extra_installs_is_pinned(extra):
    """Each requirement that an extra installs has a pinned version."""
    project = tomllib.loads(text("pyproject.toml"))["project"]
    for requirement in (*project["dependencies"], *project["optional-dependencies"][extra]):
        name = re.match(r"[\w-]+", requirement)[0]
        assert name == "distill" or re.search(
            rf"^{re.sub('[-_]', '[-_]', name)}==", text("constraints.txt"), re.MULTILINE | re.IGNORECASE
        ), requirement


def test_every_page_is_in_the_navigation():
    """Each page in docs/ is found from the menu of the site."""
    navigation = text("mkdocs.yml").partition("\nnav:")[2]
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in ROOT.glob("docs/**/*.md")]
    plugins = [f"plugins/{path.parent.name}/index.md" for path in ROOT.glob("plugins/*/README.md")]
    listed = set(re.findall(r"(\S+\.md)$", navigation, re.MULTILINE))
    assert {*pages, *plugins} - {"README.md"} - listed == set()

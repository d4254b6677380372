"""Tests of `distill losses new`: what it writes works as it stands, and nothing is overwritten."""

import os
import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from distill import __version__

ROOT = Path(__file__).parents[2]


def files(folder):
    """List the files below a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def run(*words, cwd):
    """Run a module of this Python, with the plugin in `cwd` on its path, and return what it ended with."""
    path = os.pathsep.join([str(cwd), str(ROOT)])
    command = [sys.executable, "-m", *map(str, words)]
    result = subprocess.run(
        command, cwd=cwd, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    return result.returncode, result.stdout + result.stderr


def test_what_is_written_and_what_to_do_next(distill, here):
    """The output names the files that are written, then the commands, which can be copied."""
    result = distill("losses", "new", "spark")
    assert (result.status, result.err) == (0, "")
    assert result.out == (
        "distill-spark/pyproject.toml\n"
        "distill-spark/distill_spark.py\n"
        "distill-spark/tests/test_distill_spark.py\n"
        "distill-spark/README.md\n"
        "\n"
        "Next:\n"
        "  pip install -e './distill-spark[test]'\n"
        "  pytest ./distill-spark\n"
        "  distill losses check spark\n"
        "  distill train --loss stft,recon,kl,spark --steps 20\n"
    )
    assert files(here) == sorted(result.out.splitlines()[:4])


def test_it_may_be_written_elsewhere(distill, here):
    """The plugin may be written into a new folder of any name."""
    result = distill("losses", "new", "spark", "--out", "my plugins/be\x1blow")
    assert (result.status, result.err) == (0, "")
    assert (
        "  pip install -e './my plugins/be\N{REPLACEMENT CHARACTER}low/distill-spark[test]'\n" in result.out
    )
    assert (here / "my plugins/be\x1blow/distill-spark/distill_spark.py").is_file()


def test_hyphens_are_underscores_to_python(distill, here):
    """A name has underscores as a term and a module, and hyphens as a distribution and its folder."""
    assert distill("losses", "new", "two-sparks").status == 0
    plugin = here / "distill-two-sparks"
    assert files(plugin) == [
        "README.md",
        "distill_two_sparks.py",
        "pyproject.toml",
        "tests/test_distill_two_sparks.py",
    ]
    project = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]
    assert project["name"] == "distill-two-sparks"
    assert project["optional-dependencies"] == {"test": ["pytest"]}
    assert project["entry-points"]["distill"] == {"two_sparks": "distill_two_sparks"}


def test_its_tests_pass_as_they_stand(distill, here, install, monkeypatch, capsys):
    """The tests of a new plugin pass unedited once it is installed, with warnings as errors."""
    assert distill("losses", "new", "two-sparks").status == 0
    plugin = here / "distill-two-sparks"
    install(plugin)
    monkeypatch.syspath_prepend(plugin)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    words = ("-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:cov")
    status = pytest.main([*words, f"--rootdir={plugin}", str(plugin)])
    output = capsys.readouterr().out
    assert status == 0, output
    assert "3 passed" in output


# Rules that contradict others, concern a whole repository, or forbid assertions; lines grow with the name.
@pytest.mark.parametrize("name", ["spark", "term", "a_rather_long_name_of_a_term_"])
def test_it_is_tidy(distill, here, name):
    """The linter accepts a new plugin, and so does the formatter unless a long name breaks lines."""
    assert distill("losses", "new", name).status == 0
    (plugin,) = here.iterdir()
    ignored = "D203,D213,COM812,CPY001,INP001,S101,E501"
    status, output = run("ruff", "check", "--isolated", "--select", "ALL", "--ignore", ignored, cwd=plugin)
    assert status == 0, output
    if len(name) < 10:
        assert run("ruff", "format", "--isolated", "--check", cwd=plugin)[0] == 0


def test_it_trains(distill, here, install, recordings, tiny, monkeypatch):
    """A new plugin is found by its entry point and trains beside the built-in terms."""
    assert distill("losses", "new", "glimmer").status == 0
    install(here / "distill-glimmer")
    monkeypatch.syspath_prepend(here / "distill-glimmer")
    words = ("--loss", "stft,recon,kl,glimmer", *tiny, "--steps", 2, "--out", "run")
    result = distill("train", recordings, *words)
    assert (result.status, result.err) == (0, "")
    assert 'glimmer = "distill-glimmer 0.1.0"' in (here / "run" / "recipe.toml").read_text()


@pytest.mark.parametrize("there", ["folder", "file", "link"])
def test_nothing_is_overwritten(distill, here, there):
    """An existing folder, even an empty one, is refused with one message."""
    place = here / "distill-spark"
    {"folder": place.mkdir, "file": place.touch, "link": lambda: place.symlink_to("gone")}[there]()
    result = distill("losses", "new", "spark")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        "Error: distill-spark: is there already, and nothing is overwritten\n"
        "Remove it, or choose another NAME or another folder with --out.\n"
    )
    assert files(here) == (["distill-spark"] if there == "file" else [])


def test_a_folder_that_cannot_be_made(distill, here):
    """A file in the place of the folder is refused with one message."""
    (here / "file").touch()
    result = distill("losses", "new", "spark", "--out", "file")
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        "Error: file/distill-spark: cannot be written: Not a directory\nPass another folder with --out.\n"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "Spark",
            "NAME: must be lower-case letters, digits and underscores, beginning with a letter: 'Spark'\n",
        ),
        (
            "2nd",
            "NAME: must be lower-case letters, digits and underscores, beginning with a letter: '2nd'\n",
        ),
        (
            "a/b",
            "NAME: must be lower-case letters, digits and underscores, beginning with a letter: 'a/b'\n",
        ),
        (
            "",
            "NAME: must be lower-case letters, digits and underscores, beginning with a letter: ''\n",
        ),
        (
            "lambda",
            (
                "NAME: must be neither a Python keyword nor one of total, weight, weighted, objective, "
                "gradient_norm: 'lambda'\n"
            ),
        ),
        (
            "recon",
            (
                "the name 'recon' is taken by reconstruction (distill {version})\n"
                "Choose another one; those that are taken are listed by: distill losses\n"
            ),
        ),
        (
            "of-pytest",
            (
                "the name 'of_pytest' is taken by distill-of-pytest 4.2\n"
                "Choose another one; those that are taken are listed by: distill losses\n"
            ),
        ),
    ],
)
def test_a_name_that_cannot_be(distill, here, monkeypatch, name, message):
    """A name that is invalid, or that a term or a distribution has already, is refused with one message."""
    info = here / "elsewhere" / "distill_of_pytest-4.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: distill-of-pytest\nVersion: 4.2\n")
    monkeypatch.syspath_prepend(here / "elsewhere")
    result = distill("losses", "new", name)
    assert (result.status, result.out) == (2, "")
    assert result.err == f"Error: {message}".format(version=__version__)
    assert not [*here.glob("distill*")]


def test_a_disk_that_becomes_full(distill, here):
    """One message names the file; nothing of the plugin is left in the way of another attempt."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, before[1]))
    try:
        result = distill("losses", "new", "spark")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (result.status, result.out) == (2, "")
    assert result.err == (
        f"Error: {Path('distill-spark', 'pyproject.toml')}: cannot be written: File too large\n"
        "Raise the limit on the size of files (ulimit -f).\n"
    )
    assert not [*here.glob("distill*")]

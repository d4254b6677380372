"""Sessions in environments of their own: `nox --list` names them, `nox -s SESSION -- WORDS` passes words on.

A Python version that is not installed is skipped. `.ci/run` covers one version of Python and of torch; this
is for the others.
"""

import re
import tomllib
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PLUGINS = sorted(f"./{path.parent.relative_to(ROOT)}" for path in ROOT.glob("plugins/*/pyproject.toml"))
PINNED = ("-c", "constraints.txt")
LOWEST = dict(re.findall(r"^([\w-]+)>=([\d.]+)", "\n".join(PROJECT["dependencies"]), re.MULTILINE))

nox.options.sessions = ["lint", "tests", "docs"]
nox.options.error_on_missing_interpreters = False


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """Run the tests with the pinned packages, on every supported Python that is installed."""
    session.install(*PINNED, "-e", ".[test]")
    session.install(*PINNED, *PLUGINS)
    session.run("pytest", *(session.posargs or ("-n", "2")))


@nox.session(python="3.11")
@nox.parametrize("version", ["lowest", "newest"])
def torch(session: nox.Session, version: str) -> None:
    """Run the tests with the lowest torch that pyproject.toml admits, or the newest; nothing is pinned."""
    wanted = f"torch=={LOWEST['torch']}.*" if version == "lowest" else "torch"
    session.install("--upgrade", wanted, "-e", ".[test]")
    session.install(wanted, *PLUGINS)
    session.run("python", "-c", "import torch; print(torch.__version__)")
    session.run("pytest", *(session.posargs or ("-n", "2")))


@nox.session(python="3.11")
def lint(session: nox.Session) -> None:
    """Run the linters, the type checker and the import contracts."""
    session.install(*PINNED, "-e", ".[test]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("mypy", "--config-file", "benchmarks/mypy.ini")
    session.run("lint-imports")


@nox.session(python="3.11")
def docs(session: nox.Session) -> None:
    """Build the documentation site in `site/`, with warnings as errors; `nox -s docs -- serve` shows it."""
    session.install(*PINNED, "-e", ".[docs]")
    session.run("mkdocs", *(session.posargs or ("build", "--strict")))


@nox.session(python="3.11")
def package(session: nox.Session) -> None:
    """Build the source distribution and the wheel in `dist/`, and check their metadata."""
    session.install("build", "twine")
    session.run("python", "-m", "build")
    session.run("twine", "check", "--strict", *map(str, sorted(ROOT.glob("dist/distill-*"))))

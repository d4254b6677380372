"""Complete the documentation site: pages from elsewhere in the repository, and the API reference.

MkDocs calls the functions here (`hooks` in mkdocs.yml). Pages keep the links that are right in the
repository. On the site, a link to a page of the site leads there, and any other relative link is plain text.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import distill
import distill.testing

ROOT = Path(__file__).parents[1]
MODULES = ("distill.views", "distill.functional", "distill.hookspecs", "distill.errors")
_LINK = re.compile(r"\[([^\]]+)\]\(([^)#:\s]+)(#[^)\s]*)?\)")


def _elsewhere() -> dict[str, str]:
    """Return where each page that does not stand in docs/ is on the site, by its path in the repository."""
    places = {"README.md": "index.md", "docs/README.md": "contents.md"}
    places |= {f"{name}.md": f"{name.lower()}.md" for name in ("CHANGELOG", "CONTRIBUTING", "SECURITY")}
    for page in ROOT.glob("plugins/*/*.md"):
        path = page.relative_to(ROOT).as_posix()
        places[path] = path.replace("README.md", "index.md")
    return places


def _reference() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of each page of the API reference."""
    for package in (distill, distill.testing):  # their names are imported on first use
        name = package.__name__
        names = "".join(f"\n::: {name}.{each}\n" for each in package.__all__)
        yield f"api/{name}.md", f"# {name}\n\nWhat `import {name}` offers.\n{names}"
    for module in MODULES:
        options = "    options: {heading_level: 1}\n"
        yield f"api/{module}.md", f"::: {module}\n{options}"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not stand in docs/."""
    for path, place in _elsewhere().items():
        former = files.get_file_from_path(path.removeprefix("docs/"))
        if former is not None:
            files.remove(former)
        text = (ROOT / path).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text))
    for place, text in _reference():
        files.append(File.generated(config, place, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Let the links of a page lead to where its targets are on the site."""
    del config
    places = _elsewhere()
    sources = {place: path for path, place in places.items()}
    here = page.file.src_uri
    source = sources.get(here, f"docs/{here}")

    def moved(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        for known in (path, f"{path}/README.md"):
            place = places.get(known, known.removeprefix("docs/"))
            if files.get_file_from_path(place) is not None:
                return f"[{text}]({posixpath.relpath(place, posixpath.dirname(here) or '.')}{anchor})"
        return text if (ROOT / path).exists() else link[0]

    return _LINK.sub(moved, markdown)

"""Write the tables of options into the pages of the terms, from the configs themselves.

Run: python docs/options.py, with the plugins installed. A page asks for the table of a term between the
markers `<!-- options of NAME: begin -->` and `<!-- options of NAME: end -->`.
"""

import re
from pathlib import Path

from distill import Registry
from distill.config import describe
from distill.config.words import show

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/*.md")])
_MARKED = re.compile(r"(<!-- options of (\w+): begin -->\n).*?(<!-- options of \2: end -->)", re.DOTALL)


def with_options(text: str, registry: Registry) -> str:
    """Return the text of a page with every table of options that it asks for."""
    return _MARKED.sub(lambda found: found[1] + options_table(found[2], registry) + "\n" + found[3], text)


def options_table(name: str, registry: Registry) -> str:
    """Set the options of a term as a Markdown table."""
    (term,) = registry.choose([name])
    lines = [f"| option of `{name}` | default | |", "|---|---|---|"]
    for option in describe(term.spec.config):
        default = "unset" if option.default is None else f"`{show(option.default)}`"
        kind = ", ".join(filter(None, (option.type, option.bounds)))
        lines.append(f"| `{option.name}` | {default} | {'; '.join(filter(None, (option.help, kind)))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    registry = Registry()
    for page in PAGES:
        page.write_text(with_options(page.read_text(encoding="utf-8"), registry), encoding="utf-8")

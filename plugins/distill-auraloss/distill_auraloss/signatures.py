"""The loss classes of auraloss and their parameters, read from its source. Loads no torch.

Importing auraloss would import torch, which is slow and not needed to list terms.
"""

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attrs import frozen


@frozen(kw_only=True)
class LossClass:
    """A loss class of auraloss: its module, the first line of its docstring, and its parameters.

    `parameters` are those of its `__init__` and those accepted by its `**kwargs`, by name, with their
    defaults. A parameter without a default has that of the parameter it is passed on to.
    """

    module: str
    name: str
    summary: str
    parameters: dict[str, Any]


def loss_classes() -> dict[str, LossClass]:
    """Return every class of auraloss whose name ends in `Loss`, by name.

    Raises:
        ModuleNotFoundError: auraloss is not installed.
    """
    package = find_spec("auraloss")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("No module named 'auraloss'", name="auraloss")
    return dict(_loss_classes_in(Path(package.origin).parent))


@cache  # every listing of the installed terms asks for them
def _loss_classes_in(folder: Path) -> dict[str, LossClass]:
    nodes = {
        node.name: (f"auraloss.{path.stem}", node)
        for path in sorted(folder.glob("*.py"))
        for node in ast.parse(path.read_bytes()).body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Loss")
    }
    classes = {name: node for name, (_, node) in nodes.items()}
    return {
        name: LossClass(
            module=module,
            name=name,
            summary=(ast.get_docstring(node) or name).splitlines()[0],
            parameters=_parameters(node, classes),
        )
        for name, (module, node) in nodes.items()
    }


def _parameters(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> dict[str, Any]:
    init = next(item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__")
    names = [argument.arg for argument in init.args.args[1:]]
    defaults = [ast.literal_eval(default) for default in init.args.defaults]
    own = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))
    passed_on: dict[str, Any] = {}
    for callee, arguments in _calls_with_keywords(init, node):
        accepted = _parameters(classes[callee], classes)
        given = dict(zip(accepted, arguments, strict=False))
        for name, argument in given.items():
            if isinstance(argument, ast.Name):
                own.setdefault(argument.id, accepted[name])
        passed_on |= {name: default for name, default in accepted.items() if name not in given}
    return {name: own[name] for name in names} | passed_on


def _calls_with_keywords(init: ast.FunctionDef, node: ast.ClassDef) -> Iterator[tuple[str, list[ast.expr]]]:
    """Yield the classes that `**kwargs` are passed on to, with their positional arguments."""
    for call in ast.walk(init):
        if isinstance(call, ast.Call) and any(keyword.arg is None for keyword in call.keywords):
            inherited = isinstance(call.func, ast.Attribute)  # super().__init__
            yield ast.unparse(node.bases[0] if inherited else call.func), call.args

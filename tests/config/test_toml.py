"""TOML files read, `--set` understood, and commented TOML written that reads back equal."""

import tomllib
from pathlib import Path
from typing import Literal

import attrs
import pytest
from attrs import field, frozen
from hypothesis import given
from hypothesis import strategies as st

from distill.config import (
    assign,
    flatten,
    load_toml,
    parse_assignment,
    parse_assignments,
    structure,
    to_toml,
)
from distill.errors import ConfigError


@frozen(kw_only=True)
class View:
    """What a term looks at: every field has help."""

    n_fft: int = field(metadata={"help": "samples in a transform"})
    window: int | None = field(default=None, metadata={"help": "samples in the window"})


@frozen(kw_only=True)
class Term:
    """A term with a field of every kind."""

    weight: float = field(default=1.0, metadata={"help": "factor in the total"})
    points: tuple[tuple[float, float], ...] = field(
        default=(), metadata={"help": "what scales the weight, " + "at length " * 5}
    )
    distance: Literal["l1", "l2"] = "l1"
    log: bool = False
    views: tuple[View, ...] = ()
    view: View = field(default=View(n_fft=1024), metadata={"help": "what it\nlooks at"})


@frozen(kw_only=True)
class Loss:
    """A table that holds only a table."""

    term: Term = Term()


@frozen(kw_only=True)
class Recipe:
    """The top of the tree."""

    loss: Loss = Loss()
    name: str = ""
    folder: Path = Path("runs")
    gains: dict[str, float] = field(factory=dict)
    seed: int | None = None


numbers = st.floats(allow_nan=False)
views = st.builds(
    View, n_fft=st.integers(-(2**63), 2**63 - 1), window=st.none() | st.integers(-(2**63), 2**63 - 1)
)
terms = st.builds(
    Term,
    weight=numbers,
    points=st.lists(st.tuples(numbers, numbers), max_size=3).map(tuple),
    distance=st.sampled_from(["l1", "l2"]),
    log=st.booleans(),
    views=st.lists(views, max_size=2).map(tuple),
    view=views,
)
recipes = st.builds(
    Recipe,
    loss=st.builds(Loss, term=terms),
    name=st.text(),
    folder=st.just(Path("a b/c\\d")),
    gains=st.dictionaries(st.text(), numbers, max_size=3),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
)


@given(recipes, st.text(alphabet=st.characters(exclude_categories=["Cc", "Cs"])))
def test_what_is_written_reads_back_equal(recipe, header):
    """`structure` of the parsed text is the instance that was written, for any values and header."""
    assert structure(tomllib.loads(to_toml(recipe, header=header)), Recipe) == recipe


def test_the_text_is_pleasant_to_read():
    """Comments stand in a column or above a long line, None as a comment, sub-tables after their table."""
    recipe = Recipe(
        loss=Loss(term=Term(views=(View(n_fft=64),))), gains={"low end": 2.0}, folder=Path("runs") / "x"
    )
    assert to_toml(recipe, header="A recipe\n\nof two parts") == (
        "# A recipe\n"
        "#\n"
        "# of two parts\n"
        "\n"
        'name = ""\n'
        'folder = "runs/x"\n'
        "# seed = <whole number>\n"
        "\n"
        "[loss.term]\n"
        "weight = 1.0   # factor in the total\n"
        "points = []    # what scales the weight, at length at length at length at length at length\n"
        'distance = "l1"\n'
        "log = false\n"
        "views = [{n_fft = 64}]\n"
        "\n"
        "# what it looks at\n"
        "[loss.term.view]\n"
        "n_fft = 1024                # samples in a transform\n"
        "# window = <whole number>   # samples in the window\n"
        "\n"
        "[gains]\n"
        '"low end" = 2.0\n'
    ).replace("   #", "  #")


def test_a_long_line_has_its_help_above():
    """Help that would make a line longer than 100 characters stands on a line of its own."""
    points = tuple((float(i), 1.0) for i in range(5))
    assert "\n# what scales the weight, at length at" in to_toml(Term(points=points))
    assert max(map(len, to_toml(Term(points=points)).splitlines())) <= 100


def test_an_empty_class_has_its_header():
    """A nested class without options still shows, so that a required one reads back."""
    empty = attrs.make_class("Empty", {}, frozen=True)
    outer = attrs.make_class("Outer", {"inner": attrs.field(type=empty)}, frozen=True, kw_only=True)
    assert to_toml(outer(inner=empty())) == "[inner]\n"


def test_a_file_is_read_as_plain_data(tmp_path):
    """Tables, lists and values come as Python's own, with or without a byte order mark."""
    file = tmp_path / "run.toml"
    file.write_bytes(b"\xef\xbb\xbf[loss]\r\nx = [1, 2.5]\r\n")
    assert load_toml(file) == {"loss": {"x": [1, 2.5]}}


@pytest.mark.parametrize(
    ("content", "problem", "remedy"),
    [
        (
            b"a = 1\nb = [1, oops]\n",
            "not valid TOML: Invalid value (at line 2, column 9)",
            "Correct that line, or quote its text.",
        ),
        (
            b"a = 1\na = 2\n",
            "not valid TOML: Cannot overwrite a value (at line 2, column 6)",
            "Correct that line, or quote its text.",
        ),
        (
            b"a = 1\nb = [1,\n",
            "not valid TOML: Invalid value (at line 2, the last)",
            "Correct that line, or quote its text.",
        ),
        (b'a = 1\nb = "\xe9"', "not UTF-8 text (at line 2, column 6)", "Save it as UTF-8."),
        ("a = 1".encode("utf-16"), "not UTF-8 text (at line 1, column 1)", "Save it as UTF-8."),
    ],
)
def test_a_file_that_is_not_toml_is_refused_with_its_place(tmp_path, content, problem, remedy):
    """File, line and column are named, with what to do."""
    file = tmp_path / "run.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_toml(file)
    assert str(caught.value) == f"{file}: {problem}\n{remedy}"


def test_deep_nesting_is_an_error_like_others(tmp_path):
    """A file nested beyond Python's stack is refused, with no traceback."""
    file = tmp_path / "run.toml"
    file.write_text("a = " + "[" * 5000)
    with pytest.raises(ConfigError, match="not valid TOML: maximum recursion depth"):
        load_toml(file)


def test_deep_tables_are_refused_with_their_file(tmp_path):
    """TOML writes any number of tables in each other without a bracket."""
    file = tmp_path / "run.toml"
    file.write_text("a.b = 1\n" + ".".join("c" * 2000) + " = 1")
    with pytest.raises(ConfigError) as caught:
        load_toml(file)
    assert str(caught.value) == f"{file}: c: has more than 32 nested levels, or contains itself"


def test_a_missing_file_or_a_folder_is_refused(tmp_path):
    """The path is named, and the remedy for each."""
    with pytest.raises(ConfigError) as missing:
        load_toml(tmp_path / "no.toml")
    assert str(missing.value) == (
        f"{tmp_path / 'no.toml'}: no such file\n"
        "Check the path, or write a recipe to start from with: distill recipe"
    )
    with pytest.raises(ConfigError) as folder:
        load_toml(tmp_path)
    assert str(folder.value) == (
        f"{tmp_path}: expected a TOML file, this is a folder\n"
        f"Name the file itself, as in {tmp_path / 'recipe.toml'}"
    )


def test_a_path_that_leads_through_a_file_is_refused(tmp_path):
    """What the system refuses to open is named with the system's reason."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        load_toml(tmp_path / "file" / "run.toml")
    assert str(caught.value) == (
        f"{tmp_path / 'file' / 'run.toml'}: cannot be read: Not a directory\n"
        "Check the path and its permissions."
    )


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("loss.stft.weight=2.0", "loss.stft.weight", 2.0),
        ("a=512", "a", 512),
        ("a=true", "a", True),
        ("a=True", "a", "True"),
        ("a=[1, 2]", "a", [1, 2]),
        ("a={b = 1}", "a", {"b": 1}),
        ('a="512"', "a", "512"),
        ("training.device=cuda", "training.device", "cuda"),
        ("a=cuda:0 # x=1", "a", "cuda:0 # x=1"),
        ("a=", "a", ""),
        (" a . b = 1 ", "a.b", 1),
        ("a=1\nb = 2", "a", "1\nb = 2"),
        ("a=[1, 2", "a", "[1, 2"),
    ],
)
def test_an_assignment_is_parsed(text, path, value):
    """The value is TOML where it can be, else the string as it stands."""
    parsed = parse_assignment(text)
    assert parsed == (path, value)
    assert type(parsed[1]) is type(value)


@pytest.mark.parametrize("text", ["loss.stft.weight", "=2", "loss..weight=2", ".a=1"])
def test_a_faulty_assignment_is_refused(text):
    """Without `=`, or with an empty name in the path, the error shows how it is done."""
    with pytest.raises(ConfigError) as caught:
        parse_assignment(text)
    assert str(caught.value) == (
        f'--set: expected PATH=VALUE, got "{text}"\nFor example: --set loss.stft.weight=2.0'
    )


def test_assign_makes_tables_as_needed():
    """A dotted path sets its value beside what is there, and replaces what was at its end."""
    tree = {"loss": {"kl": {"weight_max": 1}}}
    assign(tree, "loss.kl.weight_max", 2)
    assign(tree, "loss.stft.weight", 3)
    assign(tree, "seed", 4)
    assert tree == {"loss": {"kl": {"weight_max": 2}, "stft": {"weight": 3}}, "seed": 4}


def test_assign_does_not_step_into_a_value():
    """A path through something that is not a table is refused and leaves the tree as it was."""
    tree = {"loss": {"stft": 3}}
    with pytest.raises(ConfigError) as caught:
        assign(tree, "loss.stft.weight.x", 1)
    assert tree == {"loss": {"stft": 3}}
    assert str(caught.value) == (
        "loss.stft.weight.x: loss.stft is 3, not a table\nSet loss.stft itself, or remove it where it is set."
    )


def test_every_assignment_that_is_none_is_named():
    """The message names every assignment that is faulty, not only the first one."""
    with pytest.raises(ConfigError) as caught:
        parse_assignments(["a.b=1", "c", "=2"])
    assert str(caught.value) == (
        '--set: expected PATH=VALUE, got "c"\nexpected PATH=VALUE, got "=2"\n'
        "For example: --set loss.stft.weight=2.0"
    )
    assert parse_assignments(["a.b=1", "c=x"]) == [("a.b", 1), ("c", "x")]


def test_flatten_returns_values_by_their_path():
    """Names are quoted as in TOML, a list is one value, and so is a table without options below a section."""
    tree = {"a": {"b": [1], "c d": {"e": {}}}, "f": 2, "g": {}}
    assert flatten(tree) == {"a.b": [1], 'a."c d".e': {}, "f": 2}

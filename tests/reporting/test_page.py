"""Tests of pages: what they hold, in what order, and that nothing of a run is ever more than text."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import unquote

import attrs
import pytest

import distill
from distill.errors import ConfigError, RunError
from distill.evaluation.results import Evaluation
from distill.reporting.facts import gather
from distill.reporting.page import render
from distill.storage.run import Run

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'{{ 7 * 7 }}"


class Page(HTMLParser):
    """A page: its elements with their attributes, its text, and the content of its scripts."""

    def __init__(self, run, source=None):
        super().__init__()
        self.elements, self.text, self.scripts, self.open = [], [], [], None
        self.source = source or run.page.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attributes):
        """Note an element."""
        self.elements.append((tag, dict(attributes)))
        self.open = tag

    def handle_data(self, data):
        """Note text."""
        (self.scripts if self.open == "script" else self.text).append(data)

    def handle_endtag(self, _):
        """Note that an element ends."""
        self.open = None

    @property
    def words(self):
        """The text without the style sheet, with single spaces."""
        return " ".join(" ".join(self.text).split())

    def all(self, tag):
        """Return the attributes of all elements of a tag."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def data(self):
        """The data of figures and sounds."""
        return json.loads(self.scripts[0])


@pytest.fixture
def page(reported):
    """Return the page of a trained run."""
    return Page(reported)


def test_the_page_is_in_the_order_of_questions(page):
    """The page shows the state of the run first, then its sounds, its history and its recipe."""
    identities = [attributes.get("id") for attributes in page.all("section")]
    assert identities == ["verdict", "sounds", "curves", "weights", "latents", "recipe"]
    drawn = {"component-total", "shares", "weights", "units", "map", "spectrogram-0"}
    assert page.data["figures"].keys() >= drawn
    for words in ("There are few recordings", "No file of the corpus is skipped", "finished"):
        assert words in page.words


def test_sounds_are_in_the_page(page, reported):
    """Original and reconstruction as FLAC, the latents' sounds as MP3; the files are linked, too."""
    (sound,) = page.data["sounds"].values()
    for side in ("original", "reconstruction"):
        assert base64.b64decode(sound[side])[:4] == b"fLaC"
    assert all(base64.b64decode(point)[:1] in (b"\xff", b"I") for point in page.data["points"])
    links = [unquote(each["href"]) for each in page.all("a") if each["href"].startswith("audio/")]
    assert len(links) == 2
    assert all((reported.folder / link).is_file() for link in links)


def test_the_page_asks_nothing_of_a_network(page):
    """Nothing is loaded from anywhere, and the policy of the page forbids it."""
    for tag, attributes in page.elements:
        assert not {"src", "srcset", "action", "background"} & attributes.keys(), tag
        assert not attributes.get("href", "").startswith(("http", "//"))
    assert page.all("link") == []
    (policy,) = (each["content"] for each in page.all("meta") if each.get("http-equiv"))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    scripts = [base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in page.scripts[1:]]
    assert set(scripts) == allowed


def test_everything_has_a_name_for_a_screen_reader(page):
    """Plots, buttons and ranges have labels, the language is given, and headings are not skipped."""
    assert page.all("html") == [{"lang": "en"}]
    for plot in (each for _, each in page.elements if "data-figure" in each):
        assert plot["aria-label"]
    for tag in ("button", "select"):
        assert all(each.get("aria-label") or each.get("id") for each in page.all(tag))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_nothing_of_a_run_is_more_than_text(bare, records):
    """Names of terms and files, the recipe, the corpus and what is skipped may hold HTML, or a template."""
    name = json.dumps(HOSTILE)
    recipe = f"[loss.{name}]\nweight = 1.0\n[corpus]\npath = {name}\n[provenance]\n{name} = {name}\n"
    lines = records([(step, 1.0 / step, 1.0 / step) for step in range(1, 9)])
    for line in lines:
        line["components"][HOSTILE] = 1.0
        line["weights"] |= {HOSTILE: 1.0} if line["weights"] else {}
    run = bare(lines, recipe=recipe)
    run.skipped.write_text(f"{HOSTILE}: is no audio\n")
    run.outcome.write_text(json.dumps({"state": "failed", "message": HOSTILE}))
    distill.report(run)
    page = Page(run)
    assert len(page.scripts) == 3
    assert page.all("img") == []
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert page.words.count(HOSTILE) >= 4
    assert page.data["figures"][f"component-{HOSTILE}"]["data"]


@pytest.mark.parametrize("letter", ["\ud800", "\N{RIGHT-TO-LEFT OVERRIDE}", "\N{FIRST STRONG ISOLATE}"])
def test_letters_that_would_spoil_a_page_are_replaced(bare, records, letter):
    """UTF-8 has no halves of surrogate pairs, and marks of direction would turn the words of the page."""
    lines = records([(step, 1.0 / step, 1.0 / step) for step in range(1, 9)])
    for line in lines:
        line["components"][f"a{letter}"] = 1.0
        line["weights"] |= {f"a{letter}": 1.0} if line["weights"] else {}
    run = bare(lines)
    distill.report(run)
    page = Page(run)
    assert "a\N{REPLACEMENT CHARACTER}" in page.words
    assert letter.encode(errors="backslashreplace").decode() not in page.source
    keys = {each["data-figure"] for each in page.all("div") if "data-figure" in each}
    assert keys == page.data["figures"].keys()


def test_a_run_without_records_has_a_page(bare):
    """The page of a run that has no records yet says what is missing."""
    run = bare()
    distill.report(run)
    page = Page(run)
    for words in ("There are no records yet", "There are no sounds yet", "There are no latents yet"):
        assert words in page.words
    assert page.data["figures"] == {}


@pytest.mark.parametrize(("steps", "words"), [(1, "of 1 step "), (2000, "of 2,000 steps ")])
def test_a_page_says_how_long_the_run_is_to_be(bare, records, steps, words):
    """The length is that of the recipe."""
    run = bare(records([(1, 2.0, 1.0)]), recipe=f"[loss.mel]\n[training]\nsteps = {steps}\n")
    distill.report(run)
    assert words in Page(run).words


@pytest.mark.parametrize(("decibels", "told"), [(0.0, False), (0.04, False), (0.06, True)])
def test_a_level_that_would_be_shown_as_0_is_not_told(reported, decibels, told):
    """A sound turned down by less than 0.05 dB has no note: by 0.0 dB says nothing."""
    facts = gather(reported)
    pairs = tuple(attrs.evolve(pair, attenuation=decibels) for pair in facts.sounds.pairs)
    source = render(attrs.evolve(facts, sounds=attrs.evolve(facts.sounds, pairs=pairs)))
    assert ("both turned down by 0.1 dB" in source) is told
    assert "turned down by 0.0 dB" not in source


def test_the_mean_of_scores_is_of_several_sounds_and_has_no_level_of_silence(reported):
    """A single sound has no mean, and a mean with silence in it no level."""
    facts = gather(reported)
    (one,) = facts.sounds.evaluation.results
    silent = attrs.evolve(
        one, name="silent", metrics=attrs.evolve(one.metrics, level_difference=-200.0, peak=0.0)
    )

    def words(*results):
        sounds = attrs.evolve(facts.sounds, evaluation=Evaluation(results))
        return Page(reported, render(attrs.evolve(facts, sounds=sounds))).words

    def level(*results):
        return re.search(r"mean of 2 .*? level (\S+)", words(*results))[1]

    assert "mean of" not in words(one)
    assert float(level(one, one)) == pytest.approx(one.metrics.level_difference, abs=0.051)
    assert level(one, silent) == "-"


def test_damaged_parts_are_left_out_and_named(trained, tmp_path, records):
    """Damaged metrics, sounds and latents are left out and named, and the rest is shown."""
    run = Run(tmp_path / "run")
    run.audio.mkdir(parents=True)
    run.recipe.write_bytes((trained.folder / "recipe.toml").read_bytes())
    run.metrics.write_text("{}\n" + json.dumps(records([(1, 1.0, None)])[0]) + '\n{"step": 2, "sp')
    (run.audio / "1-a.original.wav").write_bytes(b"RIFF")
    run.latents.write_bytes(b"no latents")
    run.split.write_text("[]")
    distill.report(run)
    words = Page(run).words
    for told in (
        "1 lines of metrics.jsonl hold no record: 1.",
        "A sound cannot be read: 1-a.original.wav:",
        "Latents are not shown: holds no trained model yet.",
        "How the corpus was split is not shown:",
    ):
        assert told in words


def test_a_recipe_of_another_version_has_a_page(trained, tmp_path):
    """A recipe with latent options that this version does not know still has a page."""
    run = Run(tmp_path / "run")
    run.folder.mkdir()
    run.recipe.write_text(
        (trained.folder / "recipe.toml").read_text().replace("[model]", "[model]\nfuture = 1")
    )
    run.latents.write_bytes((trained.folder / "latents.safetensors").read_bytes())
    run.model.write_bytes((trained.folder / "model.safetensors").read_bytes())
    distill.report(run)
    assert "Latents are not shown: model.future: unknown option" in Page(run).words


def test_a_long_run_has_a_small_page(bare, records):
    """Curves of 20,000 records keep their extremes, and the page without sounds is below 10 MB."""
    run = bare()
    line = json.dumps(records([(7, 1.5, None)])[0])
    run.metrics.write_text("".join(line.replace("7", str(step), 1) + "\n" for step in range(20_000)))
    distill.report(run)
    assert run.page.stat().st_size < 10e6
    assert "20,000 records" in Page(run).words


def test_a_page_may_load_itself_again(bare):
    """The page of a run that is being watched reloads itself."""
    run = bare()
    distill.report(run, refresh=15)
    assert Page(run).data["refresh"] == 15


def test_a_folder_that_is_no_run_is_one_message(bare):
    """A folder without a recipe is refused with one message."""
    run = bare()
    run.recipe.unlink()
    with pytest.raises(RunError) as caught:
        distill.report(run.folder)
    assert str(caught.value) == (
        f"{run.folder}: is not a run folder: it holds no recipe.toml\n"
        "Pass the folder that `distill train --out` wrote."
    )


def test_a_recipe_that_is_not_toml_is_one_message(bare):
    """A recipe that is not TOML is refused with one message, and no page is written."""
    run = bare(recipe="[loss")
    with pytest.raises(ConfigError, match=r"recipe\.toml"):
        distill.report(run)
    assert not run.page.exists()

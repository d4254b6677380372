"""Tests of the page in headless Chromium, where it and Gradio are installed: one page for all of them.

The browser reaches nothing but the server: requests to anything else are refused and recorded.
"""

import json
import time

import numpy as np
import pytest
import soundfile

from distill.playing.presets import load_presets, save_preset
from distill.playing.sound import Random, Sound

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*no_silent_downcasting"),  # which Gradio sets
]

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


PLAYED = """
window.played = 0;
addEventListener("playing", () => { window.played += 1; }, true);
"""
"""Counts what is played."""


class Tab:
    """A page in a tab, and what went wrong on it."""

    def __init__(self, page, url):
        self.page, self.wrong, self.asked = page, [], []
        page.on("console", lambda message: self.say(message.text))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("dialog", lambda dialog: (self.wrong.append(dialog.message), dialog.dismiss()))
        page.route("**/*", lambda route: self.answer(route, url))
        page.add_init_script(PLAYED)
        page.goto(url)
        page.locator("#map circle").first.wait_for()

    def say(self, text):
        """Record what is said on the console, but for what Gradio says when it closes its own stream."""
        if text != "Method not implemented.":
            self.wrong.append(text)

    def answer(self, route, url):
        """Let a request pass if it is one to the server."""
        if route.request.url.startswith((url, "data:", "blob:")):
            route.continue_()
        else:
            self.asked.append(route.request.url)
            route.abort()

    def until(self, condition):
        """Wait for a condition; the machine may be busy."""
        end = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < end, "waited in vain"
            self.page.wait_for_timeout(20)  # in which requests are answered, unlike while Python sleeps

    def press(self, name):
        """Press a button."""
        self.page.get_by_role("button", name=name, exact=True).click()

    @property
    def now(self):
        """The title of the current sound."""
        return self.page.inner_text("#now-title")

    @property
    def message(self):
        """What is said about a mistake."""
        return self.page.locator("#message").text_content().strip()


@pytest.fixture(scope="module")
def tab(browser, page):
    """Open the page; at the end, nothing has gone wrong, and nothing else was asked for."""
    tab = Tab(browser.new_page(viewport=WIDE), page.url)
    yield tab
    assert tab.asked == []
    assert tab.wrong == []
    assert tab.page.locator("img[src=x]").count() == tab.page.locator("#head b").count() == 0
    tab.page.close()  # otherwise the server waits for its connection


@pytest.fixture
def random(tab):
    """Play a new sound, and return its title."""
    before = tab.now
    tab.page.get_by_role("tab", name="Random").click()
    tab.press("Random")
    tab.until(lambda: tab.now != before and tab.now.startswith("Random"))
    # The sliders are set while the sound plays.
    tab.until(lambda: tab.now == f"Random {tab.page.get_by_label('Seed').input_value()}")
    return tab.now


@pytest.fixture
def held(tab):
    """Hold back the first request to come, and another one once this list is cleared."""
    held = []

    def hold(route):
        if held:
            route.fallback()
        else:
            held.append(route)

    tab.page.route("**/run/predict*", hold)
    yield held
    tab.page.unroute("**/run/predict*", hold)


def test_a_sound_is_made_and_played(tab, random):
    """The page shows the seed of a sound, and the seed makes it again."""
    tab.until(lambda: tab.page.evaluate("window.played") > 0)
    curve = tab.page.locator("#player path")
    tab.until(lambda: (curve.get_attribute("d") or "").startswith("M0.5 "))
    seed = tab.page.get_by_label("Seed")
    tab.until(lambda: random == f"Random {seed.input_value()}")
    seed.fill("7")
    tab.press("Play the seed")
    tab.until(lambda: tab.now == "Random 7")


def test_the_map_plays_by_mouse_and_by_keyboard(tab, instrument):
    """The map plays by mouse and by arrow keys, and shows any name as text."""
    tab.page.locator("#point-1").click()
    tab.until(lambda: tab.now == instrument.names[1])
    tab.until(lambda: tab.page.locator("#point-1").get_attribute("aria-selected") == "true")
    tab.page.get_by_role("listbox", name="Map of").focus()
    places = instrument.places
    key = "ArrowRight" if places[1].x < max(place.x for place in places) else "ArrowLeft"
    tab.page.keyboard.press(key)
    tab.page.keyboard.press("Enter")
    tab.until(lambda: tab.now != instrument.names[1])
    assert tab.now in instrument.names


CLICKS = """
const click = (index) => {
  const box = document.querySelector(`#point-${index}`).getBoundingClientRect();
  const place = { clientX: box.x + box.width / 2, clientY: box.y + box.height / 2 };
  document.querySelector("#map svg").dispatchEvent(new MouseEvent("click", place));
};
click(0);
setTimeout(() => click(1), 20);
"""


@pytest.mark.parametrize("late", ["request", "answer"])
def test_a_click_while_a_sound_is_made_counts(tab, instrument, late):
    """The second of two clicks on the map counts, also if it overtakes the first one on its way or back."""
    clicks = {}

    def hold(route):
        index = (route.request.post_data_json.get("event_data") or {}).get("index")
        if index is None:
            route.fallback()
        else:
            clicks[index] = route

    tab.page.route("**/run/predict*", hold)
    tab.page.evaluate(CLICKS)
    tab.until(lambda: len(clicks) == 2)
    if late == "request":
        second, first = clicks[1].fetch(), clicks[0].fetch()
    else:
        first, second = clicks[0].fetch(), clicks[1].fetch()
    clicks[1].fulfill(response=second)
    tab.until(lambda: tab.now == instrument.names[1])
    clicks[0].fulfill(response=first)
    tab.page.wait_for_timeout(200)
    assert tab.now == instrument.names[1]
    tab.page.unroute("**/run/predict*", hold)
    tab.until(lambda: tab.page.locator("#point-1").get_attribute("aria-selected") == "true")
    tab.until(lambda: tab.page.get_by_role("button", name="Save FLAC").is_enabled())


@pytest.mark.parametrize("late", ["request", "answer"])
def test_the_message_of_a_click_that_was_overtaken_is_not_shown(tab, instrument, random, held, late):
    """What went wrong with a click is not said after a later sound, also if it comes in later."""
    seed = tab.page.get_by_label("Seed")
    seed.fill(str(2**70))
    tab.press("Play the seed")
    tab.until(lambda: tab.now == random and held)
    answer = held[0].fetch() if late == "answer" else None
    tab.page.locator("#point-1").click()
    tab.until(lambda: tab.now == instrument.names[1])
    held[0].fulfill(response=answer or held[0].fetch())
    tab.page.wait_for_timeout(200)
    assert tab.message == ""
    seed.fill(str(2**70))
    tab.press("Play the seed")
    tab.until(lambda: tab.message.startswith("seed: "))
    tab.page.locator("#point-0").click()
    tab.until(lambda: tab.message == "")


def test_a_button_that_is_pressed_while_a_sound_is_made_counts(tab, random, held):
    """A button that is pressed again while its sound is made is not left out."""
    seed = tab.page.get_by_label("Seed")
    seed.fill("11")
    tab.press("Play the seed")
    tab.until(lambda: held)
    seed.fill("12")
    tab.press("Play the seed")
    held[0].fallback()
    tab.until(lambda: tab.now == "Random 12")
    tab.until(lambda: seed.input_value() == "12")
    held.clear()
    tab.press("Undo")
    tab.until(lambda: held)
    tab.press("Undo")
    held[0].fallback()
    tab.until(lambda: tab.now == random)


def test_nothing_moves_when_the_first_sound_is_there(browser, page):
    """The map stays where it is, so that a second click is one on the same point."""
    other = Tab(browser.new_page(viewport=WIDE), page.url)
    other.until(lambda: other.page.locator("#map svg").count() == 1)
    other.until(lambda: other.page.locator(".loading").count() == 0)  # Gradio's, which is in no landmark
    place = other.page.locator("#map svg").bounding_box()
    accessible(other.page)
    other.page.locator("#point-0").click()
    other.until(lambda: other.page.locator("#player .empty").count() == 0)
    assert other.page.locator("#map svg").bounding_box() == place
    other.page.close()


def test_a_slider_moves_the_sound_and_undo_brings_it_back(tab, instrument, random):
    """A slider moves the sound by keyboard, and undo restores it; another recording starts unchanged."""
    axis = next(each for each in instrument.axes if each.highest > 0)
    slider = tab.page.get_by_role("slider", name=axis.name.capitalize()).first
    slider.focus()
    for _ in range(3):
        slider.press("ArrowRight")
    tab.until(lambda: f"{axis.name} +0.15" in tab.now)
    tab.press("Undo")
    tab.until(lambda: tab.now == random)
    tab.until(lambda: float(slider.input_value()) == 0)


def test_variations_and_morphs(tab, random, tmp_path):
    """Recordings and dropped files can be varied and morphed; a bad file is one message."""
    tab.page.get_by_role("tab", name="Vary").click()
    tab.press("Vary")
    tab.until(lambda: tab.now.startswith(f"{random}, varied 50%"))
    tab.page.get_by_role("tab", name="Morph").click()
    tab.press("Morph")
    tab.until(lambda: " → " in tab.now)
    bad, good = tmp_path / "<b>bad.wav", tmp_path / "<i>mine.aiff"
    bad.write_text("text")
    soundfile.write(good, np.sin(np.arange(2400) / 3), 8000)
    tab.page.locator("#file input[type=file]").set_input_files(bad)
    tab.until(lambda: "is not audio that libsndfile reads" in tab.message)
    tab.page.locator("#file input[type=file]").set_input_files(good)
    tab.until(lambda: "mine.aiff, 50%" in tab.now)
    assert tab.message == ""


def test_sounds_are_kept_saved_and_downloaded(tab, random, played):
    """Takes belong to the page and presets to the run; a downloaded file has the title of the sound."""
    name = tab.page.get_by_label("Name")
    name.fill("<b>take</b>${alert(1)}")
    tab.press("Keep as a take")
    take = tab.page.get_by_label("<b>take</b>${alert(1)}")
    take.wait_for()
    tab.until(lambda: name.input_value() == "")
    name.fill("<i>preset</i>")
    tab.press("Save as a preset")
    tab.until(lambda: [str(sound) for sound in load_presets(played).values()] == [random])
    tab.page.locator("#point-0").click()
    tab.until(lambda: tab.now != random)
    tab.page.get_by_role("tab", name="Presets").click()
    preset = tab.page.get_by_label("<i>preset</i>")
    preset.wait_for()
    tab.page.get_by_role("tab", name="Takes").click()
    take.check()
    tab.until(lambda: tab.now == random)
    with tab.page.expect_download() as download:
        tab.press("Save FLAC")
    assert download.value.suggested_filename.endswith(f"{random}.flac")
    with soundfile.SoundFile(download.value.path()) as file:
        assert (file.format, file.samplerate) == ("FLAC", 8000)
        assert np.abs(file.read()).max() > 0.001
        made_with = json.loads(file.comment.removeprefix("Made by Distill: "))
    assert made_with["run"] == played.folder.name
    assert f"Random {made_with['random']}" == random


@pytest.mark.usefixtures("tab")
def test_another_page_of_the_run_has_its_own_sounds(browser, page, played):
    """Another page shares the presets of the run but not the sounds."""
    save_preset(played, "<i>preset</i>", Sound(source=Random(seed=1)))
    other = Tab(browser.new_page(viewport=NARROW, color_scheme="dark"), page.url)
    assert other.now == "No sound yet"
    other.page.get_by_role("tab", name="Presets").click()
    other.page.get_by_label("<i>preset</i>").wait_for()
    other.page.get_by_role("tab", name="Vary").click()
    other.press("Vary")
    other.until(
        lambda: other.message == "there is no sound yet\nClick a point of the map, or make a random sound."
    )
    assert other.asked == other.wrong == []
    accessible(other.page)
    other.page.close()


def test_the_page_is_accessible(tab):
    """axe-core finds nothing; nothing is cut off at the side."""
    for name in ("Random", "Morph"):
        tab.page.get_by_role("tab", name=name).click()
        accessible(tab.page)


def accessible(page):
    """Check a page as it is."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page)
    assert [(each["id"], each["nodes"][0]["target"]) for each in found.response["violations"]] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

"""Tests of pages in headless Chromium, where it is installed: they draw, play, and work for everybody.

The browser is offline, so that nothing can come from a network.
"""

import json
import time

import pytest

import distill
from distill.storage.run import Run

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def page(opened, reported):
    """Return the page of a trained run with all its plots drawn."""
    page = opened(reported.page)
    page.draw_all()
    return page


def test_every_plot_draws(page):
    """Every plot draws without an error in the console or a request to a network."""
    drawn = page.evaluate(
        "plots.map((plot) => plot.querySelector('.main-svg')?.getBoundingClientRect().width)"
    )
    assert len(drawn) == page.evaluate("Object.keys(data.figures).length") > 5
    assert min(drawn) > 100
    heatmaps = page.evaluate("document.querySelectorAll('.plot .hm image').length")
    assert heatmaps == 3  # two spectrograms, and the cosines
    assert page.wrong == []


def test_plots_are_drawn_when_they_come_into_view(opened, reported):
    """Plots are drawn only when they come into view; Plotly is compiled after the page is shown."""
    page = opened(reported.page)
    last = page.locator(".plot").last
    assert not last.get_attribute("data-drawn")
    last.scroll_into_view_if_needed()
    page.until("plots.at(-1).dataset.drawn === 'yes'")


def test_sounds_play_and_switch_without_a_gap(page):
    """Both run on while one fades into the other; the fades add up to one."""
    card = page.locator(".card").first
    card.get_by_text("loop").click()
    card.get_by_role("button", name="Play").click()
    page.until("players[0].now > 0.02")
    page.evaluate("window.before = players[0].sources")
    heard = "[players[0].gains.original, players[0].gains.reconstruction].map((each) => each.gain.value)"
    assert page.evaluate(heard) == [1, 0]
    card.get_by_text("reconstruction", exact=True).first.click()
    page.until("players[0].gains.original.gain.value < 0.01")
    assert page.evaluate(f"{heard}.reduce((one, other) => one + other).toFixed(3)") == "1.000"
    assert page.evaluate("players[0].sources === before && players[0].playing")
    card.get_by_role("button", name="Pause").click()
    assert card.get_attribute("data-state") == "paused"
    assert page.wrong == []


@pytest.fixture
def fourfold(page):
    """Let timers of the page run out in a quarter of their time."""
    page.evaluate("() => { window.usual = setTimeout; setTimeout = (call, time) => usual(call, time / 4); }")
    yield
    page.evaluate("() => { setTimeout = usual; }")


@pytest.mark.usefixtures("fourfold")
def test_the_audio_output_is_released(page):
    """Where nothing plays for a second, the output is released; what is played then takes it again."""
    page.evaluate("players[0].loop.checked = true")
    button = page.locator(".card .play").first
    button.click()
    page.until("players[0].playing")
    button.click()
    button.click()
    page.until("players[0].playing")
    time.sleep(0.3)
    assert page.evaluate("players[0].playing && context.state === 'running'")
    button.click()
    page.evaluate("playPoint(0)")
    page.until("current.playing && context.state === 'running'")
    page.until("!current.playing && context.state === 'suspended'")
    button.click()
    page.until("players[0].playing && context.state === 'running'")
    button.click()
    assert page.wrong == []


def test_a_sound_plays_by_keyboard(page):
    """The Enter key plays a sound, and arrow keys switch between sounds."""
    card = page.locator(".card").first
    card.get_by_role("button").first.focus()
    page.keyboard.press("Enter")
    page.until("players[0].playing")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert card.get_attribute("data-heard") == "original"
    page.keyboard.press("ArrowRight")
    assert card.get_attribute("data-heard") == "reconstruction"
    page.evaluate("players[0].pause()")


def test_a_point_of_the_map_plays(page):
    """The list beside the map plays its points; a point without a sound says so."""
    page.get_by_role("button", name="Play the chosen recording").click()
    page.until("document.querySelector('.map .trouble').textContent.startsWith('Playing')")
    page.evaluate("data.points.push(null); playPoint(data.points.length - 1)")
    assert "without a sound" in page.locator(".map .trouble").text_content()


def test_a_page_works_without_sound(opened, reported, soundless):
    """In a browser without Web Audio, one message stands beside what was to play, and plots draw."""
    page = opened(reported.page, script=soundless["absent"])
    for play, trouble in (("Play", ".card .trouble"), ("Play the chosen recording", ".map .trouble")):
        page.get_by_role("button", name=play).first.click()
        page.until(f"document.querySelector('{trouble}').textContent")
        told = page.locator(trouble).first.text_content()
        assert told == "It cannot be played: this browser lacks Web Audio."
    page.draw_all()
    assert page.wrong == []


def test_a_sound_that_stops_says_so(page):
    """Where the audio output goes away, the player stops and says why; later it can play again."""
    card = page.locator(".card").first
    page.evaluate("players[0].loop.checked = true")
    card.get_by_role("button", name="Play").click()
    page.until("players[0].playing")
    page.evaluate("context.suspend()")
    page.evaluate("players[0].moved.at -= PATIENCE")
    page.until("!players[0].playing")
    told = card.locator(".trouble").text_content()
    assert told == "It stopped: no sound comes out, since the browser found no audio output or blocks it."
    card.get_by_role("button", name="Play").click()
    page.until("players[0].playing")
    assert card.locator(".trouble").text_content() == ""
    page.evaluate("players[0].pause()")
    assert page.wrong == []


def test_the_sound_that_is_asked_for_last_plays(page):
    """Of sounds that are asked for while others are decoded, only the last one plays."""
    page.evaluate("players[0].play(); players[0].play(); playPoint(0)")
    page.until("document.querySelector('.map .trouble').textContent.startsWith('Playing')")
    assert page.evaluate("players[0].playing") is False
    page.get_by_role("button", name="Play").first.click()
    page.until("players[0].playing")
    page.until("document.querySelector('.map .trouble').textContent === ''")  # the point has stopped
    page.evaluate("players[0].pause()")
    assert page.wrong == []


def test_a_term_can_be_hidden(page):
    """A term can be hidden, with its curves, in every figure, and shown again."""
    shown = "plots.find((plot) => plot.dataset.figure === 'shares').data.map((trace) => trace.visible)"
    page.get_by_label("stft", exact=True).uncheck()
    assert page.locator("figure[data-term=stft]").first.is_hidden()
    page.until(f"!({shown})[0]")
    page.get_by_label("stft", exact=True).check()
    assert page.locator("figure[data-term=stft]").first.is_visible()
    page.until(f"({shown})[0]")


@pytest.mark.parametrize(("scheme", "viewport"), [("dark", NARROW), ("light", WIDE)])
def test_the_page_is_accessible(page, scheme, viewport):
    """axe-core finds nothing, light and dark, wide and narrow; and nothing is cut off at the side."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(viewport)
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    found = axe.Axe().run(page)
    assert [(each["id"], each["nodes"][0]["target"]) for each in found.response["violations"]] == []
    page.until("document.documentElement.scrollWidth <= innerWidth")


def test_nothing_of_a_run_is_executed(opened, bare, records):
    """Names in a run are never executed, whatever they hold."""
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    lines = records([(step, 1.0 / step, 1.0 / step) for step in range(1, 9)])
    for line in lines:
        line["components"][hostile] = 1.0
        line["weights"] |= {hostile: 1.0} if line["weights"] else {}
    run = bare(lines, recipe=f"[loss.{json.dumps(hostile)}]\n")
    distill.report(Run(run.folder))
    page = opened(run.page)
    page.draw_all()
    assert page.wrong == []
    assert page.locator("img").count() == 0

"""Tests of pages in headless Chromium, where it is installed: they draw, play, and work for everybody.

The browser is offline, so that nothing can come from a network.
"""

import json
import shutil
import time

import pytest

import distill
from distill.storage.run import Run

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def until(page, condition):
    """Wait for a condition; the policy of the page allows no polling within it."""
    end = time.monotonic() + 20
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        time.sleep(0.02)


def draw_all(page):
    """Draw the plots that are out of sight, too, and wait for all of them."""
    page.evaluate("Promise.all(plots.map(draw))")
    until(page, "plots.every((plot) => plot.dataset.drawn === 'yes')")


@pytest.fixture(scope="module")
def browser():
    """Start the browser of the machine, which may run as root in a container."""
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--autoplay-policy=user-gesture-required"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def opened(browser):
    """Return a function that opens the page of a run; what went wrong is in `page.wrong`."""
    contexts = []

    def open_page(run, **settings):
        context = browser.new_context(offline=True, **{"viewport": WIDE, **settings})
        contexts.append(context)
        page = context.new_page()
        page.wrong = []
        page.on("console", lambda message: page.wrong.append(message.text))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("dialog", lambda dialog: page.wrong.append(dialog.message))
        page.on("request", lambda request: None if request.url.startswith(("file:", "data:", "blob:"))
                else page.wrong.append(request.url))  # fmt: skip
        page.goto(run.page.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def page(opened, reported):
    """Return the page of a trained run with all its plots drawn."""
    page = opened(reported)
    draw_all(page)
    return page


def test_every_plot_draws(page):
    """And nothing is complained about, nor asked of a network."""
    drawn = page.evaluate(
        "plots.map((plot) => plot.querySelector('.main-svg')?.getBoundingClientRect().width)"
    )
    assert len(drawn) == page.evaluate("Object.keys(data.figures).length") > 5
    assert min(drawn) > 100
    heatmaps = page.evaluate("document.querySelectorAll('.plot .hm image').length")
    assert heatmaps == 3  # two spectrograms, and the cosines
    assert page.wrong == []


def test_plots_are_drawn_when_they_come_into_view(opened, reported):
    """Not before, and Plotly is compiled after the page is there, so that it opens at once."""
    page = opened(reported)
    last = page.locator(".plot").last
    assert not last.get_attribute("data-drawn")
    last.scroll_into_view_if_needed()
    until(page, "plots.at(-1).dataset.drawn === 'yes'")


def test_sounds_play_and_switch_without_a_gap(page):
    """Both run on while one fades into the other; the fades add up to one."""
    card = page.locator(".card").first
    card.get_by_text("loop").click()
    card.get_by_role("button", name="Play").click()
    until(page, "players[0].now > 0.02")
    page.evaluate("window.before = players[0].sources")
    heard = "[players[0].gains.original, players[0].gains.reconstruction].map((each) => each.gain.value)"
    assert page.evaluate(heard) == [1, 0]
    card.get_by_text("reconstruction", exact=True).first.click()
    until(page, "players[0].gains.original.gain.value < 0.01")
    assert page.evaluate(f"{heard}.reduce((one, other) => one + other).toFixed(3)") == "1.000"
    assert page.evaluate("players[0].sources === before && players[0].playing")
    card.get_by_role("button", name="Pause").click()
    assert card.get_attribute("data-state") == "paused"
    assert page.wrong == []


def test_a_sound_plays_by_keyboard(page):
    """Enter plays, arrow keys switch."""
    card = page.locator(".card").first
    card.get_by_role("button").first.focus()
    page.keyboard.press("Enter")
    until(page, "players[0].playing")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowLeft")
    assert card.get_attribute("data-heard") == "original"
    page.keyboard.press("ArrowRight")
    assert card.get_attribute("data-heard") == "reconstruction"
    page.evaluate("players[0].pause()")


def test_a_point_of_the_map_plays(page):
    """By the list beside it; one without a sound says so."""
    page.get_by_role("button", name="Play the chosen recording").click()
    until(page, "document.querySelector('.map .trouble').textContent.startsWith('Playing')")
    page.evaluate("data.points.push(null); playPoint(data.points.length - 1)")
    assert "without a sound" in page.locator(".map .trouble").text_content()


def test_a_term_can_be_hidden(page):
    """With its curves, in every figure; and shown again."""
    shown = "plots.find((plot) => plot.dataset.figure === 'shares').data.map((trace) => trace.visible)"
    page.get_by_label("stft", exact=True).uncheck()
    assert page.locator("figure[data-term=stft]").first.is_hidden()
    until(page, f"!({shown})[0]")
    page.get_by_label("stft", exact=True).check()
    assert page.locator("figure[data-term=stft]").first.is_visible()
    until(page, f"({shown})[0]")


@pytest.mark.parametrize(("scheme", "viewport"), [("dark", NARROW), ("light", WIDE)])
def test_the_page_is_accessible(page, scheme, viewport):
    """axe-core finds nothing, light and dark, wide and narrow; and nothing is cut off at the side."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size(viewport)
    page.evaluate("document.querySelectorAll('details').forEach((each) => (each.open = true))")
    found = axe.Axe().run(page)
    assert [(each["id"], each["nodes"][0]["target"]) for each in found.response["violations"]] == []
    until(page, "document.documentElement.scrollWidth <= innerWidth")


def test_nothing_of_a_run_is_executed(opened, bare, records):
    """Whatever the names in it are."""
    hostile = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"
    lines = records([(step, 1.0 / step, 1.0 / step) for step in range(1, 9)])
    for line in lines:
        line["components"][hostile] = 1.0
        line["weights"] |= {hostile: 1.0} if line["weights"] else {}
    run = bare(lines, recipe=f"[loss.{json.dumps(hostile)}]\n")
    distill.report(Run(run.folder))
    page = opened(run)
    draw_all(page)
    assert page.wrong == []
    assert page.locator("img").count() == 0

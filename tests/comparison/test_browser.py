"""Tests of the page of a comparison in headless Chromium, where it is installed."""

import json
import shutil

import numpy as np
import pytest

import distill as package
from distill.comparison.binomial import chance_of
from distill.storage.run import Run

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 360, "height": 780}
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def file(compared_runs, tmp_path_factory):
    """Return the page of two runs, one of which has HTML in its name and in its recipe."""
    folder = tmp_path_factory.mktemp("page")
    hostile = Run(folder / HOSTILE)
    shutil.copytree(compared_runs[1].folder, hostile.folder)
    recipe = hostile.recipe.read_text()
    hostile.recipe.write_text(
        recipe + f'\n[provenance."</script><script>alert(1)</script>"]\n"x" = "{HOSTILE}"\n'
    )
    return package.compare([compared_runs[0], hostile], out=folder / "comparison.html").page


@pytest.fixture(scope="module")
def page(opened, file):
    """Return the page with all its plots drawn."""
    page = opened(file)
    page.draw_all()
    return page


def test_every_plot_draws(page):
    """Every plot draws without an error, executed text, or a request to a network."""
    drawn = page.evaluate(
        "plots.map((plot) => plot.querySelector('.main-svg').getBoundingClientRect().width)"
    )
    assert len(drawn) == page.evaluate("Object.keys(data.figures).length") > 5
    assert min(drawn) > 100
    assert page.locator(".plot .hm image").count() == 3  # the original and two runs
    assert page.locator("img").count() == 0
    assert page.locator("h1").text_content() == f"first and {HOSTILE}"
    assert page.wrong == []


def test_sounds_switch_between_the_original_and_all_runs(page):
    """All versions of a sound run on without a gap while one of them is heard."""
    card = page.locator(".card").first
    card.get_by_text("loop").click()
    card.get_by_role("button", name="Play").click()
    page.until("players[0].now > 0.02")
    page.evaluate("window.before = players[0].sources")
    card.get_by_text(HOSTILE, exact=True).first.click()
    heard = "['original', 'run-0', 'run-1'].map((name) => players[0].gains[name].gain.value.toFixed(2))"
    page.until(f"{heard}.join() === '0.00,0.00,1.00'")
    assert page.evaluate("players[0].sources === before && before.length === 3")
    card.get_by_role("button", name="Pause").click()
    assert page.wrong == []


def test_a_term_and_a_run_can_be_hidden(page):
    """A term and a run can be hidden in all figures."""
    total = (
        "plots.find((plot) => plot.dataset.figure === 'component-total').data.map((trace) => trace.visible)"
    )
    page.get_by_label("stft", exact=True).uncheck()
    assert page.locator("figure[data-term=stft]").first.is_hidden()
    page.get_by_label("stft", exact=True).check()
    page.locator(".terms").get_by_label("first", exact=True).uncheck()
    page.until(f"{total}.join() === 'false,false,true,true'")
    page.locator(".terms").get_by_label("first", exact=True).check()
    page.until(f"{total}.every(Boolean)")


def tab_to(page, condition):
    """Press Tab until a condition on the focused element `at` holds."""
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate(f"((at) => {condition})(document.activeElement)"):
            return
    raise AssertionError(f"no way to {condition}")


def hear(page, *letters):
    """Play the trial by keyboard, and hear these sounds of it for as long as an answer takes."""
    if not page.evaluate("test.player.playing"):
        page.keyboard.press(" ")
        page.until("test.player.playing")
    for letter in letters:
        page.keyboard.press(letter)
        assert page.evaluate("test.player.heard") == letter
        page.until(f"test.player.listened['{letter}'] > 0.1")


def saved(page, path):
    """Save the answers by keyboard at the end of a test, and return what is in the file."""
    page.keyboard.press("Tab")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    download.value.save_as(path)
    return json.loads(path.read_text())


def test_an_abx_test_is_completed_by_keyboard_and_read_back(page, file, distill, tmp_path, compared_runs):
    """A test completed by keyboard saves what was heard, and `--answers` reads the file."""
    keys = page.keyboard
    page.locator("#system-a").focus()
    keys.press("ArrowUp")  # the original
    page.locator("#trials").focus()
    keys.press("Control+A")
    keys.type("5")
    keys.press("Tab")
    keys.type(f"Ann {HOSTILE}")
    keys.press("Tab")
    keys.type("7")
    keys.press("Enter")
    for number in range(5):
        page.until(f"document.querySelector('#trial h3')?.textContent === 'Trial {number + 1} of 5'")
        assert "run-" not in page.locator("#trial").inner_html()
        hear(page, "a", "b", "x")
        tab_to(page, "at.textContent === 'X is A'")
        keys.press("Enter")
    content = saved(page, answers := tmp_path / "answers.json")
    right = sum(each["answer"] == each["x"] for each in content["abx"])
    assert page.locator("#trial p").first.text_content().startswith(f"{right} of 5 are right.")
    assert {each["x"] for each in content["abx"]} <= {"original", "run-1"}
    runs = (compared_runs[0].folder, file.parent / HOSTILE)
    result = distill("compare", *runs, "--answers", answers, "--json")
    (shown,) = json.loads(result.out)["listening"]["abx"]
    assert (shown["right"], shown["trials"], shown["p"]) == (right, 5, chance_of(right, 5))
    again = tmp_path / "again.html"
    result = distill("compare", *runs, "--answers", answers, "--out", again)
    lines = result.out.splitlines()
    assert lines[-1] == f"page  {again}"
    assert f"{right} of 5, " in result.out
    assert max(map(len, lines[:-1])) <= 80
    assert f"<td>{right} of 5</td>" in again.read_text()
    assert page.wrong == []


def test_a_mushra_test_is_completed_by_keyboard_and_read_back(opened, file, distill, tmp_path, compared_runs):
    """A test takes a rating of every sound, once it was heard, and `--answers` reads the file."""
    page = opened(file)
    keys = page.keyboard
    page.get_by_label("ABX:").focus()
    keys.press("ArrowDown")
    tab_to(page, "at.id === 'listener'")
    keys.type("Bo")
    keys.press("Enter")
    page.until("document.querySelector('#trial h3')?.textContent === 'Trial 1 of 1'")
    assert "run-" not in page.locator("#trial").inner_html()
    trouble = page.locator("#trial .trouble")
    tab_to(page, "at.textContent === 'Next'")
    keys.press("Enter")
    assert trouble.text_content() == "Rate every sound first: A, B, C."
    page.locator("#trial h3").focus()
    hidden = page.evaluate(
        "Object.entries(test.player.systems).find(([at, name]) => at !== 'r' && name === 'original')[0]"
    )
    for letter in "abc":
        tab_to(page, f"at.ariaLabel === 'Score of {letter.upper()}'")
        assert page.evaluate("test.player.heard") == letter  # the focus chooses what is heard
        keys.press("End" if letter == hidden else "PageDown")
    assert page.get_by_label(f"Score of {hidden.upper()}").get_attribute("aria-valuetext") == "100, excellent"
    keys.press("Tab")
    keys.press("Enter")
    assert trouble.text_content() == "Listen first to the reference, A, B, C."
    page.locator("#trial h3").focus()
    hear(page, "r", "a", "b", "c")
    tab_to(page, "at.textContent === 'Next'")
    keys.press("Enter")
    (trial,) = saved(page, answers := tmp_path / "answers.json")["mushra"]
    assert trial["scores"] == {"original": 100, "run-0": 40, "run-1": 40}
    runs = (compared_runs[0].folder, file.parent / HOSTILE)
    told = json.loads(distill("compare", *runs, "--answers", answers, "--json").out)["listening"]["mushra"]
    shown = [(each["system"], each["ratings"], each["mean"]) for each in told["systems"]]
    assert shown == [("original", 1, 100), ("first", 1, 40), (HOSTILE, 1, 40)]
    assert page.wrong == []


SILENT = "no sound comes out, since the browser found no audio output or blocks it"


def test_no_test_begins_without_sound(opened, file, soundless):
    """A browser without an audio output says so beside the player, draws the plots, and begins no test."""
    page = opened(file, script=soundless["suspended"])
    card = page.locator(".card").first
    card.get_by_role("button", name="Play").click()
    page.until("document.querySelector('.card .trouble').textContent")
    assert card.locator(".trouble").text_content() == f"It cannot be played: {SILENT}."
    assert card.get_attribute("data-state") == "paused"
    page.locator("#listener").fill("Bo")
    page.get_by_role("button", name="Begin").click()
    page.until("document.querySelector('#setup .trouble').textContent")
    assert page.locator("#setup .trouble").text_content() == f"A test needs sound: {SILENT}."
    assert page.locator("#trial").is_hidden()
    page.draw_all()
    assert page.wrong == []


def test_no_answer_is_recorded_of_a_sound_that_was_not_heard(opened, file, soundless):
    """Where sounds cannot be decoded, a trial says so, and takes no answer; the test can be left."""
    page = opened(file, script=soundless["undecoded"])
    page.locator("#listener").fill("Bo")
    page.get_by_role("button", name="Begin").click()
    page.locator("#trial h3").focus()
    page.keyboard.press(" ")
    page.until("document.querySelector('#trial .trouble').textContent")
    trouble = page.locator("#trial .trouble")
    assert trouble.text_content() == "It cannot be played: this browser cannot decode FLAC."
    page.get_by_role("button", name="X is A").click()
    assert trouble.text_content() == "Listen first to A, B, X."
    assert page.evaluate("test.answers.length") == 0
    page.get_by_role("button", name="End the test without saving").click()
    assert page.locator("#trial").is_hidden()
    assert page.evaluate("document.activeElement.textContent") == "Begin"
    page.keyboard.press("Enter")
    page.until("document.querySelector('#trial h3')?.textContent === 'Trial 1 of 10'")
    assert page.wrong == []


def test_anchors_are_filtered_as_the_recommendation_says(page):
    """Anchors are within 0.1 dB up to 3.5 kHz, 25 dB down at 4 kHz and 50 dB from 4.5 kHz (BS.1534-3)."""
    kernel = np.array(page.evaluate("[...lowPass(3500, 48000)]"))
    response = 20 * np.log10(np.abs(np.fft.rfft(kernel, 48_000)) + 1e-12)  # a bin is 1 Hz
    assert np.abs(response[:3501]).max() < 0.1
    assert response[4000] < -25
    assert response[4500:].max() < -50
    steps = page.evaluate("""(async () => {
      const rate = audio().sampleRate;
      const buffer = new AudioBuffer({ length: rate, sampleRate: rate });
      buffer.getChannelData(0).fill(1);
      const made = await filtered(buffer, 3500);
      return [made.length === rate, made.getChannelData(0)[rate / 2]];
    })()""")
    assert steps == [True, pytest.approx(1, abs=0.01)]


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


def test_many_runs_fit_a_phone(opened, file):
    """On a phone, choices wrap, and a table that is too wide scrolls within itself and says so."""
    page = opened(file, viewport=NARROW)
    page.evaluate("""
      const [choices, row] = [".card fieldset", ".measures tr"].map((name) => document.querySelector(name));
      for (let number = 0; number < 8; number++) {
        for (const parent of [choices, row]) parent.append(parent.lastElementChild.cloneNode(true));
      }
    """)
    page.until("document.querySelector('.scroll:has(.measures)').classList.contains('over')")
    hint = "getComputedStyle(document.querySelector('.scroll:has(.measures)'), '::before').content"
    assert page.evaluate(hint) == '"Scroll sideways for more →"'
    page.until("document.documentElement.scrollWidth <= innerWidth")
    assert page.wrong == []

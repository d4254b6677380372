"""Tests of the page of a comparison in headless Chromium, where it is installed."""

import json
import shutil

import numpy as np
import pytest

import distill as package
from distill.comparison.binomial import chance_of
from distill.storage.run import Run

WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
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
        assert page.locator("#trial h3").text_content() == f"Trial {number + 1} of 5"
        assert "run-" not in page.locator("#trial").inner_html()
        keys.press(" ")
        page.until("test.player.playing")
        keys.press("x")
        assert page.evaluate("test.player.heard") == "x"
        for _ in range(20):  # to the answer
            keys.press("Tab")
            if page.evaluate("document.activeElement.textContent") == "X is A":
                break
        keys.press("Enter")
    keys.press("Tab")
    with page.expect_download() as download:
        keys.press("Enter")
    answers = tmp_path / "answers.json"
    download.value.save_as(answers)
    content = json.loads(answers.read_text())
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


def test_a_mushra_test_rates_everything_before_it_goes_on(opened, file):
    """The test requires a rating of every sound, among them the hidden reference, before it goes on."""
    page = opened(file)
    page.get_by_text("MUSHRA:").first.click()
    page.locator("#listener").fill("Bo")
    page.get_by_role("button", name="Begin").click()
    page.get_by_role("button", name="Next").click()
    assert page.locator("#trial .trouble").text_content() == "Rate every sound first: A, B, C."
    for letter in "ABC":
        page.get_by_label(f"Score of {letter}").focus()
        page.keyboard.press("ArrowRight")
    assert page.get_by_label("Score of C").get_attribute("aria-valuetext") == "51, fair"
    assert page.evaluate("test.player.heard") == "c"
    page.get_by_role("button", name="Next").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Save the answers").click()
    (trial,) = json.loads(download.value.path().read_text())["mushra"]
    assert trial["scores"] == {"original": 51, "run-0": 51, "run-1": 51}
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

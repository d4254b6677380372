"""Take the README's picture of the page of `distill play`, and measure how fast it answers.

Run: python benchmarks/play_page.py RUN [--out docs/pictures/play.png] [--times 20]

Needs Chromium, and Playwright of the extra `test`. A round trip begins with the click or the key, and ends
when the browser plays the new sound, its `playing` event; each sound has a second. The medians are printed,
with the processor time of the server until then, and the load of the machine.
"""

import os
import shutil
import time
from pathlib import Path
from statistics import median

import click
from playwright.sync_api import Page, sync_playwright
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from distill.playing.play import served
from distill.storage.run import Run

WINDOW = {"width": 1280, "height": 940}
_TIMEOUT_MS = 60_000
_HEARD = """
window.played = 0;
addEventListener("playing", () => { window.played += 1; }, true);
"""


def measure(page: Page, name: str, times: int, act) -> None:  # noqa: ANN001  # a function of the number
    """Print the medians of round trips and of the server's time."""
    trips, computed = [], []
    for number in range(times):
        before = page.evaluate("window.played")
        began, busy = time.perf_counter(), time.process_time()
        act(number)
        wait(page, name, "(before) => window.played > before", before)
        trips.append(time.perf_counter() - began)
        computed.append(time.process_time() - busy)
        page.wait_for_timeout(400)  # other controls are set while the sound plays
    print(
        f"{name:12} {median(trips):.2f} s, from {min(trips):.2f} to {max(trips):.2f} s, "
        f"computed {median(computed):.2f} s, load {os.getloadavg()[0]:.1f}"
    )


def wait(page: Page, name: str, condition: str, argument: object = None) -> None:
    """Wait for a condition on the page.

    Raises:
        ClickException: it is not met within a minute.
    """
    try:
        page.wait_for_function(condition, arg=argument, polling=5)
    except PlaywrightTimeout as error:
        title, message = page.inner_text("#now-title"), page.locator("#message").text_content()
        shown = f"The page shows {title!r}, and the message {message!r}."
        raise click.ClickException(f"{name}: nothing for {_TIMEOUT_MS // 1000} s. {shown}") from error


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/pictures/play.png"))
@click.option("--times", type=int, default=20)
def main(run: Path, out: Path, times: int) -> None:
    """Measure, and take the picture."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with served(Run(run)) as page, sync_playwright() as driver:
        arguments = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = driver.chromium.launch(executable_path=chromium, args=arguments)
        tab = browser.new_page(viewport=WINDOW, color_scheme="light")
        tab.set_default_timeout(_TIMEOUT_MS)
        tab.add_init_script(_HEARD)
        tab.goto(page.url)
        tab.locator("#map circle").first.wait_for()
        points = tab.locator("#map circle").count()
        tab.locator("#point-0").click(force=True)
        wait(tab, "the first click", "window.played > 0")
        length = tab.get_by_label("number input for Length")
        length.fill("1")
        length.press("Enter")
        tab.wait_for_timeout(3000)
        tab.get_by_label("Use for the next sounds, too").check()
        if times:
            random = tab.get_by_role("button", name="Random", exact=True)
            measure(tab, "random", times, lambda _: random.click())
            measure(
                tab, "map", times, lambda number: tab.locator(f"#point-{number % points}").click(force=True)
            )
            for slider in tab.locator("#shape input[type=range]").all():
                name = slider.get_attribute("aria-label").removeprefix("range slider for ")
                if slider.is_visible():
                    measure(tab, name, times, lambda _, slider=slider: slider.press("ArrowRight"))
            tab.get_by_role("tab", name="Vary").click()
            vary = tab.get_by_role("button", name="Vary", exact=True)
            measure(tab, "vary", times, lambda _: vary.click())
        picture(tab, out)
        browser.close()


def picture(tab: Page, out: Path) -> None:
    """Take the picture of a morph that is moved along two axes, with a few takes."""
    tab.get_by_role("button", name="Reset", exact=True).click()
    tab.get_by_label("Use for the next sounds, too").uncheck()
    tab.get_by_role("tab", name="Random").click()
    for name in ("glass rain", "slow bell", "far drum"):
        before = tab.inner_text("#now-title")
        tab.get_by_role("button", name="Random", exact=True).click()
        wait(tab, name, "(before) => document.querySelector('#now-title').innerText !== before", before)
        tab.get_by_label("Name").fill(name)
        tab.get_by_role("button", name="Keep as a take", exact=True).click()
        tab.get_by_label(name).wait_for()
    tab.get_by_role("tab", name="Morph").click()
    tab.get_by_role("button", name="Morph", exact=True).click()
    wait(tab, "morph", "document.querySelector('#now-title').innerText.includes('→')")
    tab.wait_for_timeout(2000)
    for slider in tab.locator("#shape input[type=range]").all()[:2]:
        for _ in range(10):
            slider.press("ArrowRight")
        tab.wait_for_timeout(2000)
    tab.wait_for_timeout(4000)
    tab.evaluate("document.activeElement.blur()")
    tab.screenshot(path=out, full_page=True)


if __name__ == "__main__":
    main()

"""Take the README's picture of the page of a run, and measure how fast the page of a long run opens.

Run: python benchmarks/report_page.py RUN [--out docs/pictures/report.png] [--records 100000]
     python benchmarks/report_page.py RUN --out docs/pictures/gradients.png --section weights
     python benchmarks/report_page.py RUN RUN... --out docs/pictures/compare.png

With several runs, the picture is of the page of their comparison.

Needs Chromium, and Playwright of the extra `test`. With --records, a run of so many records is written to a
temporary folder, its page is made and opened five times, and the median is printed.
"""

import json
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import click
from playwright.sync_api import Browser, sync_playwright

import distill
from distill.storage.run import Run

WINDOW = {"width": 1280, "height": 1120}


def long_run(folder: Path, records: int) -> Run:
    """Write a run of so many records with three terms."""
    run = Run(folder)
    run.recipe.write_text("".join(f"[loss.{term}]\n" for term in ("stft", "reconstruction", "kl")))
    with run.metrics.open("w") as file:
        for step in range(1, records + 1):
            value = 1 + 1 / step + 0.01 * (step % 7)
            terms = dict.fromkeys(("stft", "reconstruction", "kl"), value)
            record = {"step": step, "split": "train", "seconds": step, "progress": step / records}
            record |= {"components": {"total": 3 * value, **terms}, "weights": dict.fromkeys(terms, 1.0)}
            record |= {"learning_rate": 1e-3 * (1 - step / records), "gradients": None}
            if step % 15 == 0:  # as often as by default
                cosines = {"stft": {"reconstruction": 0.5, "kl": -0.1}, "reconstruction": {"kl": -0.2}}
                shares = {"stft": 0.6, "reconstruction": 0.3, "kl": 0.1}
                record["gradients"] = {"shares": shares, "parameter_shares": shares, "cosines": cosines}
            file.write(json.dumps(record) + "\n")
    return run


def open_times(browser: Browser, page: Path, times: int) -> list[tuple[float, float]]:
    """Return the seconds until a page is loaded, and until its first plots are drawn, too."""
    seconds = []
    for _ in range(times):
        tab = browser.new_page(viewport=WINDOW)
        began = time.perf_counter()
        tab.goto(page.as_uri())
        loaded = time.perf_counter() - began
        tab.evaluate("Promise.all(plots.slice(0, 2).map(draw))")
        while not tab.evaluate("plots.slice(0, 2).every((plot) => plot.dataset.drawn === 'yes')"):
            time.sleep(0.01)
        seconds.append((loaded, time.perf_counter() - began))
        tab.close()
    return seconds


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("docs/pictures/report.png"))
@click.option("--records", type=int, default=0)
@click.option("--section", help="Take a picture of this section, instead of the beginning of the page.")
def main(runs: tuple[Path, ...], out: Path, records: int, section: str | None) -> None:
    """Take the picture, and measure."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as driver, tempfile.TemporaryDirectory() as folder:
        if len(runs) > 1:
            page = distill.compare(runs, out=Path(folder) / "comparison.html").page
        else:
            page = distill.report(runs[0])
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport=WINDOW, color_scheme="light")
        tab.goto(page.resolve().as_uri())
        tab.evaluate("Promise.all(plots.map(draw))")
        if section:
            tab.evaluate("document.querySelector('nav').style.position = 'static'")  # else it covers a part
            tab.locator(f"#{section}").screenshot(path=out)
        else:
            tab.screenshot(path=out)
        tab.close()
        if records:
            long = long_run(Path(folder), records)
            began = time.process_time()
            distill.report(long)
            made = time.process_time() - began
            size = long.page.stat().st_size / 1e6
            loaded, drawn = map(median, zip(*open_times(browser, long.page, 5), strict=True))
            print(
                f"{records} records: made in {made:.1f} s, {size:.1f} MB, "
                f"opens in {loaded:.2f} s, first plots after {drawn:.2f} s"
            )
        browser.close()


if __name__ == "__main__":
    main()

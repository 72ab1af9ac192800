"""The README's pictures: a run's page as a browser shows it. Needs chromium and playwright (make picture).

python benchmarks/pictures.py runs/quickstart docs
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1240, 1900
SEARCHED = "backtracking"


def main() -> int:
    run, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("no chromium on the PATH: install it (Debian: apt install chromium)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(f"file://{run / 'report.html'}")
        page.wait_for_selector("#explorer[data-ready]")
        page.wait_for_timeout(2000)
        page.screenshot(path=out / "report.png")
        page.select_option('[name="behaviour"]', label=SEARCHED)
        page.select_option('[name="group"]', label="RLSP")
        page.select_option('[name="outcome"]', "1")
        page.locator("#explorer").screenshot(path=out / "explorer.png")
        if page.locator("#reasoning").count():
            page.locator("#reasoning").screenshot(path=out / "reasoning.png")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

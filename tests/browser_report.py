"""The pages in a real browser: of a run, of a comparison, and with 20,000 responses.

    make test-browser

Chromium has to be installed (Debian: apt install chromium).
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from rlsp import runs
from rlsp.config import Recipe, load
from rlsp.demonstrations.search import unroll
from rlsp.engines import analysis, native
from rlsp.engines.progress import Silent
from rlsp.files import read_records, write_records
from rlsp.report import build, build_comparison
from rlsp.runs import Run
from rlsp.tasks import countdown
from rlsp.tasks.splits import Split
from rlsp.types import Advantages, Exploration, Finish, Problem, Rollout, Score
from rlsp.verifiers import verify

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the PATH")

MANY = 20_000
STEPS, PER_STEP = 80, 250
OPENS_SECONDS, FILTERS_SECONDS = 3.0, 0.2
SMALL = (
    "rl.steps=3",
    "rl.critic_warmup_steps=1",
    "demonstrations.count=200",
    "evaluation.problems=60",
)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of the nano recipe, its sizes shrunk, and analysed."""
    recipe = load(Recipe, "nano", SMALL)
    run = runs.create(tmp_path_factory.mktemp("runs") / "small", recipe)
    native.run(recipe, run, Silent())
    analysis.of_run(run, 4, 8, Silent())
    build(run)
    return run


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = load(Recipe, "nano", [*SMALL, "seed=1", "reward.alpha=1.0"])
    run = runs.create(tmp_path_factory.mktemp("runs") / "other", recipe)
    native.run(recipe, run, Silent())
    return run


@pytest.fixture(scope="session")
def many(finished: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same run with 20,000 searching responses in its training."""
    run = Run(tmp_path_factory.mktemp("runs") / "many")
    shutil.copytree(finished.directory, run.directory)
    shutil.rmtree(run.path("rl", "rollouts"))
    rng, problems = Random(0), countdown.problems(Split.TRAIN, STEPS * PER_STEP, 0, [3])
    write_records(run.path("problems", "train.jsonl"), problems)
    for step in range(1, STEPS + 1):
        some = problems[(step - 1) * PER_STEP : step * PER_STEP]
        rollouts = [_answer(each, rng) for each in some]
        scores = [
            Score(each.id, 0, verify(each, rollout.text), Exploration(0.0, {}), 0.8, 0.0)
            for each, rollout in zip(some, rollouts, strict=True)
        ]
        write_records(run.step_file("rollouts", step), rollouts)
        write_records(run.step_file("scores", step), scores)
    build(run)
    return run


def _answer(problem: Problem, rng: Random) -> Rollout:
    text = unroll(problem, rng, 0.3, 6) or "nothing found"
    return Rollout(problem.id, 0, (1,), (2,) * len(text.split()), (0.0,) * len(text.split()), text, Finish.EOS, 1.0, 0)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that fails its test by any error of its scripts and by any request but for itself."""
    page = browser.new_page(viewport={"width": 1240, "height": 1000})
    troubles: list[str] = []

    def seen(request: Request) -> None:
        if request.url.split("#")[0] != page.url.split("#")[0] and not request.url.startswith(("data:", "file:")):
            troubles.append(f"request: {request.url}")
        if request.url.startswith("file:") and not request.is_navigation_request():
            troubles.append(f"request: {request.url}")

    page.on("request", seen)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
    yield page
    page.close()
    assert troubles == []


def opened(page: Page, path: Path) -> Page:
    page.goto(f"file://{path}")
    page.wait_for_selector("#explorer[data-ready]")
    return page


def count(page: Page) -> int:
    return int(page.inner_text('[data-part="count"]').split(" of ")[0].replace(",", ""))


def total(page: Page) -> int:
    return int(page.inner_text('[data-part="count"]').split(" of ")[1].split(" ")[0].replace(",", ""))


def test_a_run_is_searched_and_filtered(page: Page, finished: Run) -> None:
    opened(page, finished.path("report.html"))
    everything = total(page)
    assert everything == 3 * 60 + 3 * 256 and count(page) == everything
    page.select_option('[name="outcome"]', "1")
    right = count(page)
    page.select_option('[name="outcome"]', "0")
    assert right + count(page) == everything and 0 < right < everything
    expect(page.locator(".option").first.locator("b")).to_have_text("✗ wrong")
    page.click('button[type="reset"]')
    expect(page.locator('[data-part="count"]')).to_contain_text(f"{everything:,} of")
    page.select_option('[name="behaviour"]', label="verification")
    assert 0 < count(page) < everything
    expect(page.locator(".card mark").first).to_contain_text("verification")
    page.select_option('[name="group"]', label="RL step 2")
    assert 0 < count(page) <= 256
    page.click('button[type="reset"]')
    page.fill('[name="least"]', "60")
    long = count(page)
    page.fill('[name="most"]', "80")
    assert 0 < count(page) < long < everything
    page.select_option('[name="order"]', "longest")
    lengths = [int(text.rsplit("· ", 1)[1].split(" ")[0]) for text in page.locator(".option .facts").all_inner_texts()]
    assert lengths == sorted(lengths, reverse=True)
    page.fill('[name="search"]', "no such words anywhere")
    assert count(page) == 0
    expect(page.locator('[data-part="detail"]')).to_contain_text("No response fits")


def test_the_same_problem_stands_side_by_side(page: Page, finished: Run) -> None:
    opened(page, finished.path("report.html"))
    page.select_option('[name="group"]', label="RLSP")
    expect(page.locator(".card h4")).to_have_text(["Base", "SFT", "RLSP"])


def test_the_advantages_of_tokens_are_shown(page: Page, finished: Run) -> None:
    opened(page, finished.path("report.html"))
    page.select_option('[name="group"]', label="RL step 2")
    page.locator('[data-part="list"]').focus()
    page.keyboard.press("ArrowDown")
    stored = list(read_records(finished.step_file("advantages", 2), Advantages))[1]
    unlabelled = (
        "(card) => [...card.childNodes].map((each) => each.firstChild ? each.firstChild.data : each.data).join('')"
    )
    text = page.locator(".card[aria-current] pre").evaluate(unlabelled)
    page.select_option('[name="paint"]', "advantages")
    assert page.get_attribute('[data-part="list"]', "aria-activedescendant") == "option-1", "the choice stays"
    assert page.locator(".card[aria-current] pre").text_content() == text
    first = page.locator(".card[aria-current] pre span").first
    nonzero = next(value for value in stored.values if round(100 * value))
    expect(first).to_have_attribute("title", f"advantage {'+' if nonzero > 0 else '−'}{abs(nonzero):.2f}")
    expect(first).to_have_class(re.compile("^up " if nonzero > 0 else "^down "))
    assert page.locator(".card[aria-current] pre mark").count() == 0
    page.select_option('[name="group"]', label="RLSP")
    expect(page.locator(".card[aria-current]")).to_contain_text("No advantages")


def test_by_keyboard_alone(page: Page, finished: Run) -> None:
    opened(page, finished.path("report.html"))
    page.locator('[data-part="list"]').focus()
    first = page.inner_text(".detail .question")
    page.keyboard.press("ArrowDown")
    assert page.inner_text(".detail .question") != first
    assert page.get_attribute('[data-part="list"]', "aria-activedescendant") == "option-1"
    page.keyboard.press("End")
    last = page.get_attribute('[data-part="list"]', "aria-activedescendant")
    assert last == f"option-{total(page) - 1}" and page.locator(f"#{last}").is_visible()
    page.keyboard.press("Home")
    assert page.inner_text(".detail .question") == first
    page.locator('[name="search"]').focus()
    page.keyboard.type("12")
    assert 0 < count(page) < total(page)
    for _ in range(12):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement !== document.body")


def test_the_scheme_is_switched(page: Page, finished: Run) -> None:
    opened(page, finished.path("report.html"))
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.click("#scheme")
    dark = page.evaluate(paper)
    assert light != dark and page.inner_text("#scheme") == "Light scheme"
    page.click("#scheme")
    assert page.evaluate(paper) == light


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("which", ["run", "comparison"])
def test_nothing_serious_for_axe(
    page: Page, finished: Run, other: Run, tmp_path: Path, which: str, scheme: Literal["light", "dark"]
) -> None:
    path = finished.path("report.html")
    if which == "comparison":
        path = tmp_path / "comparison.html"
        build_comparison([finished, other], path)
    page.emulate_media(color_scheme=scheme)
    opened(page, path)
    found = Axe().run(page).response["violations"]
    serious = [each for each in found if each["impact"] in ("serious", "critical")]
    assert serious == [], json.dumps(serious, indent=1)[:3000]


def test_a_comparison_opens_and_is_filtered(page: Page, finished: Run, other: Run, tmp_path: Path) -> None:
    path = tmp_path / "comparison.html"
    build_comparison([finished, other], path)
    opened(page, path)
    assert total(page) == 2 * 60
    expect(page.locator("#results tbody tr").first).to_contain_text("small")
    expect(page.locator("#results")).to_contain_text("reward.alpha")
    page.select_option('[name="group"]', label="other, RLSP")
    assert count(page) == 60
    expect(page.locator(".card[aria-current] h4")).to_have_text("other, RLSP")
    page.locator("#training").scroll_into_view_if_needed()
    expect(page.locator("#training .js-plotly-plot").first).to_be_visible()


def test_how_it_reasons_is_filled(page: Page, finished: Run) -> None:
    opened(page, finished.path("report.html"))
    section = page.locator("#reasoning")
    for title in ("Behaviours", "Does it help?", "Thinking time", "Is it new?", "Wider, or only sharper?"):
        expect(section.get_by_role("heading", name=title)).to_be_visible()
    assert section.locator("td .range").count() > 20


def test_twenty_thousand_responses(page: Page, many: Run) -> None:
    """Medians of three, alone on the machine."""
    opening, filtering = [], []
    for _ in range(3):
        began = time.perf_counter()
        opened(page, many.path("report.html"))
        opening.append(time.perf_counter() - began)
        assert total(page) == MANY or total(page) > MANY * 0.98
        for words in ("12 + 5", "is it", "7"):
            filtering.append(
                page.evaluate(
                    """(words) => {
                        const box = document.querySelector('[name="search"]');
                        const began = performance.now();
                        box.value = words;
                        box.dispatchEvent(new Event("input", { bubbles: true }));
                        return (performance.now() - began) / 1000;
                    }""",
                    words,
                )
            )
    print(f"\nopens in {sorted(opening)[1]:.2f} s, filters in {1000 * max(filtering):.0f} ms at most")
    assert sorted(opening)[1] < OPENS_SECONDS
    assert max(filtering) < FILTERS_SECONDS


def test_hostile_text_stays_text(page: Page, finished: Run, tmp_path: Path) -> None:
    run = Run(tmp_path / "hostile")
    shutil.copytree(finished.directory, run.directory)
    path = run.path("evaluation", "rlsp.rollouts.jsonl.zst")
    hostile = '</script><img src="https://example.org/x" onerror="document.title=1"><b id="injected">\u202e'
    rollouts = [replace(each, text=hostile) for each in read_records(path, Rollout)]
    write_records(path, rollouts)
    build(run)
    opened(page, run.path("report.html"))
    page.select_option('[name="group"]', label="RLSP")
    expect(page.locator(".card[aria-current] pre")).to_contain_text('<b id="injected">')
    assert page.locator("#injected").count() == 0 and "RLSP report" in page.title()

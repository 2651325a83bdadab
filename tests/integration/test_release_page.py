"""The release browser in headless Chromium, from a disk as readers have it: quiet, usable, for everybody."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import packed

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")

WIDTHS = (1280, 768, 375, 320)
CONTRAST = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const ratio = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = {};
  const note = (kind, element, colour, page) => {
    const key = `${kind} ${element.tagName} ${element.getAttribute('class') || ''} ${colour} ${page}`;
    found[key] = ratio(colour, page);
  };
  for (const element of document.querySelectorAll('body *:not(script):not(style)')) {
    const style = getComputedStyle(element);
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (element.closest('svg')) {
      if (element.tagName === 'text') note('text', element, parse(style.fill), behind(element));
      if (element.matches('.mark, .bar')) note('drawn', element, parse(style.fill), behind(element));
      if (element.matches('.interval')) note('drawn', element, parse(style.stroke), behind(element));
    } else if (own && element.tagName !== 'OPTION') note('text', element, parse(style.color), behind(element));
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[sync_api.Browser]:
    with sync_api.sync_playwright() as playwright:
        # Chromium's own sandbox needs namespaces that a container may not have; the page is ours.
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return (packed.written(tmp_path_factory.mktemp("packs"), packed.whole()) / "index.html").as_uri()


class Visit:
    """A page that is open, and what it said and asked for while it was."""

    def __init__(self, page: sync_api.Page, address: str) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(address)

    def rows(self) -> list[list[str]]:
        """The cells' table as a reader sees it now."""
        script = (
            "() => [...document.querySelectorAll('#cells-table tbody tr')].filter((row) => row.checkVisibility())"
            ".map((row) => [...row.cells].map((cell) => cell.textContent))"
        )
        found: list[list[str]] = self.page.evaluate(script)
        return found

    def column(self, name: str) -> list[float]:
        """A column's values to sort by, those that are empty left out."""
        heads = self.page.locator("#cells-table thead th").all_inner_texts()
        [at] = [n for n, head in enumerate(heads) if head.startswith(name)]
        script = (
            "(at) => [...document.querySelectorAll('#cells-table tbody tr')].map((r) => r.cells[at].dataset.value)"
        )
        values = [value for value in self.page.evaluate(script, at) if value]
        return [float(value) for value in values]


@pytest.fixture
def visit(browser: sync_api.Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Visit]:
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **getattr(request, "param", {})})
    yield Visit(context.new_page(), address)
    context.close()


def test_it_asks_nobody_for_anything_and_has_nothing_to_complain_of(visit: Visit, address: str) -> None:
    visit.page.mouse.wheel(0, 20_000)
    visit.page.get_by_role("searchbox").fill("qwen")
    visit.page.wait_for_load_state("networkidle")
    assert visit.said == []
    assert visit.asked == [address]


def test_its_policy_stops_what_somebody_puts_into_it(
    browser: sync_api.Browser, address: str, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        outside = f"http://127.0.0.1:{listening.getsockname()[1]}/x"
        more = f"<img src='{outside}'><script>document.title = 'ran'</script><p style='color:red'>"
        forged = tmp_path / "index.html"
        text = packed.whole()["index.html"].decode()
        forged.write_text(text.replace("<main", f"{more}<main", 1), encoding="utf-8")
        visit = Visit(browser.new_page(), forged.as_uri())
        assert visit.page.title() != "ran"
        assert len([said for said in visit.said if "Content Security Policy" in said]) >= 3
        visit.page.close()
        with pytest.raises(BlockingIOError):  # nobody has connected
            listening.accept()


def test_words_and_choices_filter_the_cells(visit: Visit) -> None:
    every = visit.rows()
    visit.page.get_by_role("searchbox").fill("INT4 h200")
    found = visit.rows()
    assert found == [row for row in every if {"NVIDIA H200", "int4"} <= set(row)]
    assert 0 < len(found) < len(every)
    assert visit.page.locator("#shown").inner_text() == f"{len(found)} of {len(every)} rows shown"
    visit.page.get_by_role("searchbox").fill("")
    visit.page.get_by_label("quantization", exact=True).select_option("bfloat16")
    assert visit.rows() == [row for row in every if row[2] == "bfloat16"]
    visit.page.get_by_role("searchbox").fill("nobody has this")
    assert visit.rows() == []


@pytest.mark.parametrize("name", ["contributors", "tokens per second", "first token, median", "failed requests"])
def test_a_heads_button_sorts_by_numbers_both_ways(visit: Visit, name: str) -> None:
    button = visit.page.locator("#cells-table thead th button", has_text=name)
    first = "ascending" if name == "contributors" else "descending"
    for order in (first, "descending" if first == "ascending" else "ascending"):
        button.press("Enter")  # as somebody without a mouse does
        assert visit.page.locator("#cells-table th[aria-sort]").get_attribute("aria-sort") == order
        values = visit.column(name)
        assert len(values) > 1
        assert values == sorted(values, reverse=order == "descending")


def test_what_noise_hides_is_last_in_either_order(visit: Visit) -> None:
    visit.page.evaluate("document.querySelector('#cells-table tbody tr').cells[5].dataset.value = ''")
    button = visit.page.locator("#cells-table thead th button", has_text="tokens per second")
    for _ in range(2):
        button.click()
        assert (
            visit.page.evaluate(
                "[...document.querySelectorAll('#cells-table tbody tr')].at(-1).cells[5].dataset.value"
            )
            == ""
        )


def test_words_sort_as_words(visit: Visit) -> None:
    visit.page.locator("#cells-table thead th button", has_text="accelerator").click()
    down = [row[0] for row in visit.rows()]
    visit.page.locator("#cells-table thead th button", has_text="accelerator").click()
    up = [row[0] for row in visit.rows()]
    assert up == sorted(up, key=str.lower)
    assert down == sorted(down, key=str.lower, reverse=True)


@pytest.mark.parametrize("visit", [{"java_script_enabled": False}], indirect=True)
def test_without_scripts_all_is_there_but_the_controls(visit: Visit) -> None:
    assert (
        visit.page.locator("#cells-table tbody tr").count()
        == len(re.findall("data-value", packed.whole()["index.html"].decode())) // 6
    )
    assert not visit.page.locator(".controls").is_visible()
    assert visit.page.locator(".plot svg[role=img]").first.is_visible()


@pytest.mark.parametrize("width", WIDTHS)
def test_it_never_scrolls_sideways(visit: Visit, width: int) -> None:
    visit.page.set_viewport_size({"width": width, "height": 800})
    visit.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    script = (
        "() => [...document.querySelectorAll('.plot, .plot *')].filter((one) => !one.closest('.unseen'))"
        ".filter((one) => one.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert visit.page.evaluate(script) == 0


@pytest.mark.parametrize(
    "visit", [{"color_scheme": "light"}, {"color_scheme": "dark"}], indirect=True, ids=["light", "dark"]
)
def test_words_and_drawings_stand_out_from_the_page(visit: Visit) -> None:
    found = visit.page.evaluate(CONTRAST)
    assert len(found) > 20
    low = {what: ratio for what, ratio in found.items() if ratio < (4.5 if what.startswith("text") else 3)}
    assert low == {}


def test_light_and_dark_are_two(browser: sync_api.Browser, address: str) -> None:
    pages = []
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(address)
        pages.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.close()
    assert len(set(pages)) == 2


def test_every_drawing_and_every_control_has_a_name(visit: Visit) -> None:
    images = visit.page.get_by_role("img").all()
    assert len(images) > 20
    for image in images:
        assert len(image.locator("title").first.text_content() or "") > 10
    for control in visit.page.locator("input, select").all():
        assert control.evaluate("(one) => one.labels.length") == 1
    for region in visit.page.get_by_role("region").all():
        named = region.evaluate(
            "(one) => one.ariaLabel || document.getElementById(one.getAttribute('aria-labelledby')).textContent"
        )
        assert named


def test_the_keyboard_reaches_all_that_can_be_used(visit: Visit) -> None:
    visit.page.keyboard.press("Tab")
    assert visit.page.evaluate("document.activeElement.className") == "skip"
    for _ in range(60):
        visit.page.keyboard.press("Tab")
        if visit.page.evaluate("document.activeElement.id") == "search":
            break
    reached = []
    for _ in range(16):
        reached.append(visit.page.evaluate("document.activeElement.tagName"))
        visit.page.keyboard.press("Tab")
    assert reached[:5] == ["INPUT", "SELECT", "SELECT", "SELECT", "SELECT"]
    assert "BUTTON" in reached
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert visit.page.evaluate(outline) == "solid"


def test_on_paper_all_files_are_listed_and_no_control_is_left(visit: Visit) -> None:
    visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    visit.page.emulate_media(media="print")
    assert visit.page.locator("details:not([open])").count() == 0
    assert not visit.page.locator(".controls").is_visible()
    assert not visit.page.locator("nav").is_visible()
    assert visit.page.pdf(format="A4")[:5] == b"%PDF-"

"""The page in Chromium: it shows, says nothing to the console, is accessible, and prints.

Chromium is the system's (`make browser` installs Debian's); axe-core comes with a package of the
test group.
"""

import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("jinja2")
pytest.importorskip("matplotlib")
playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed (the test group has it)"
)
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe-core is not installed"
)

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
OPTIONS = ("--no-first-run", "--disable-background-networking", "--disable-gpu")

# What a reader sees: each picture once, in the version for light or for dark.
VISIBLE_IMAGES = """
[...document.images].filter(image => image.checkVisibility())
    .map(image => [image.className, image.complete, image.naturalWidth])
"""


@pytest.fixture(scope="module")
def browser():
    found = [path for path in map(shutil.which, BROWSERS) if path]
    if not found:
        pytest.skip("no Chromium on this machine: make browser installs one")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=found[0], args=OPTIONS, chromium_sandbox=False
        )
        yield chromium
        chromium.close()


def shown(browser, path, **options):
    """Open a page; what it fetches and what the console hears is in its `heard`."""
    page = browser.new_page(**options)
    page.heard = []
    page.on("console", lambda message: page.heard.append(message.text))
    page.on("pageerror", lambda error: page.heard.append(str(error)))
    page.on("request", lambda request: page.heard.append(request.url))
    address = Path(path).as_uri()
    page.goto(address)
    page.heard = [heard for heard in page.heard if heard != address and heard[:5] != "data:"]
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("name", ["iris", "odd"])
def test_it_shows_and_is_accessible(browser, folder, name, width, scheme):
    size = {"width": width, "height": 900}
    page = shown(browser, folder / f"{name}.html", color_scheme=scheme, viewport=size)
    assert page.locator("h1").is_visible()
    images = page.evaluate(VISIBLE_IMAGES)
    assert [image[:2] for image in images] == [[scheme, True]] * 3
    assert all(natural > 300 for _, _, natural in images)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    violations = axe.Axe().run(page).response["violations"]
    assert [(found["id"], found["impact"]) for found in violations] == []
    assert page.heard == []
    page.close()


def test_paper_is_light_and_has_every_picture(browser, folder):
    page = shown(browser, folder / "iris.html", color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert [image[0] for image in page.evaluate(VISIBLE_IMAGES)] == ["light"] * 3
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(255, 255, 255)"
    content = page.pdf(format="A4")
    assert content.startswith(b"%PDF-")
    assert 3 <= len(re.findall(rb"/Type */Page\b", content)) <= 8
    page.close()


def test_it_needs_no_script(browser, folder):
    page = shown(browser, folder / "iris.html", java_script_enabled=False)
    assert page.locator("img.light").first.is_visible()
    assert page.get_by_role("heading", name="Worst mistakes").is_visible()
    page.close()

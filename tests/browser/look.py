"""Opens a report as a reader does, and says what is wrong with it.

A browser of the system is used (`chromium`, `google-chrome`); none is downloaded.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_QUIET: Final = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTHS: Final = {"desk": (1320, 900), "phone": (390, 844)}

# Words of one plot that lie upon each other cannot be read; marks within a plot may be close, axis labels may not.
_OVERLAPS: Final = """() => [...document.querySelectorAll("svg")].flatMap(svg => {
  const boxes = [...svg.querySelectorAll("text.tick, text.axis")].map(t => [t.textContent, t.getBoundingClientRect()]);
  const hit = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
  return boxes.flatMap(([one, a], i) => boxes.slice(i + 1).filter(([, b]) => hit(a, b)).map(([two]) =>
    `${svg.querySelector("title").textContent}: '${one}' lies upon '${two}'`));
})"""
_OUTSIDE: Final = """() => [...document.querySelectorAll("svg")].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter(t => { const b = t.getBoundingClientRect();
    return b.left < frame.left - 1 || b.right > frame.right + 1 || b.top < frame.top - 1 || b.bottom > frame.bottom + 1; })
    .map(t => `${svg.querySelector("title").textContent}: '${t.textContent}' is cut off`);
})"""
_FLAT: Final = (
    """() => [...document.querySelectorAll("svg")].filter(s => s.getBoundingClientRect().height < 40).length"""
)
_WIDER: Final = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
_PAPER: Final = "() => getComputedStyle(document.body).backgroundColor"


def chromium() -> str | None:
    """Where the system's browser is, None where there is none."""
    return next((found for name in _NAMES if (found := shutil.which(name))), None)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser without a window.

    Raises:
        FileNotFoundError: the system has none.
    """
    program = chromium()
    if program is None:
        raise FileNotFoundError("no Chromium here: install the package chromium")
    # Root has no sandbox to give away; anybody else keeps it.
    root = sys.platform == "linux" and os.geteuid() == 0
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=program, headless=True, args=[*_QUIET, *(["--no-sandbox"] if root else [])]
        )
        try:
            yield running
        finally:
            running.close()


def look(running: Browser, report: Path, shots: Path | None = None) -> dict[str, Any]:
    """Open a report on a desk and on a phone, in light and in dark.

    Args:
        running: the browser.
        report: the page.
        shots: pictures of what was seen go here.

    Returns:
        ``faults``, a list of sentences; ``plots``, how many; ``papers``, the colours of the background by theme.
    """
    told: dict[str, Any] = {"faults": [], "plots": 0, "papers": {}}
    for name, (width, height) in WIDTHS.items():
        for theme in ("light", "dark"):
            context = running.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if theme == "dark" else "light",
                offline=True,
            )
            try:
                _visit(context.new_page(), report, f"{name}, {theme}", told, shots)
            finally:
                context.close()
    return told


def _visit(page: Page, report: Path, where: str, told: dict[str, Any], shots: Path | None) -> None:
    faults: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: faults.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: faults.append(f"script: {error}"))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.resolve().as_uri())
    faults += [f"asks for {url}" for url in asked if not url.startswith("file:") or not url.endswith(report.name)]
    faults += page.evaluate(_OVERLAPS) + page.evaluate(_OUTSIDE)
    if page.evaluate(_FLAT):
        faults.append("a plot has no height")
    if page.evaluate(_WIDER) > 0:
        faults.append("the page is wider than the window")
    told["plots"] = page.locator("svg").count()
    told["papers"][where] = page.evaluate(_PAPER)
    before = page.evaluate(_PAPER)
    page.click("#theme")
    if page.evaluate(_PAPER) == before:
        faults.append("the switch changes nothing")
    page.click("#theme")
    if shots is not None:
        page.screenshot(path=shots / f"{where.replace(', ', '-')}.png", full_page=True)
    told["faults"] += [f"{where}: {fault}" for fault in faults]

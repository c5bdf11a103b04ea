"""A report in Chromium: no error, nothing fetched, every word of every plot readable, light and dark, desk and phone."""

import pytest

from client_sim.report.document import document
from client_sim.report.page import page
from tests.browser.look import browser, chromium, look
from tests.client_sim.report.made import busy, run

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(chromium() is None, reason="no Chromium here (Debian: apt-get install chromium)"),
]


def written(tmp_path, change=str):
    """A report of two regions with everything on it."""
    records = [*busy("near"), *busy("bad-mobile", base_ms=3_000)]
    told = run(tmp_path, records, regions=("near", "bad-mobile"), label="near, bad-mobile")
    path = tmp_path / "report.html"
    path.write_text(change(page([told], document([told]), command="x")))
    return path


def test_a_report_is_readable_everywhere(tmp_path):
    """And works without a network."""
    with browser() as running:
        told = look(running, written(tmp_path))
    assert told["faults"] == []
    assert told["plots"] >= 10
    assert len(set(told["papers"].values())) == 2


def test_the_look_sees_faults(tmp_path):
    """A script that fails, a fetch, words upon each other, a page too wide: each is told."""

    def spoil(html):
        words = '<text class="tick" x="300" y="100">one upon</text><text class="tick" x="302" y="101">another</text>'
        far = '<text class="tick" x="900" y="100">beyond</text>'
        wide = '<div style="width:2000px">x</div><script>nowhere()</script><img src="https://example.org/x.png">'
        return html.replace("</svg>", f"{words}{far}</svg>", 1).replace("</main>", f"{wide}</main>")

    with browser() as running:
        faults = " ".join(look(running, written(tmp_path, spoil))["faults"])
    for fault in ("script:", "console:", "lies upon", "is cut off", "wider than the window"):
        assert fault in faults, fault

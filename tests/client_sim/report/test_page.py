"""The page: whole, by itself, and true to the figures."""

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import pytest

import client_sim.__main__ as program
from client_sim.report.document import document
from client_sim.report.html import percent
from client_sim.report.page import page
from client_sim.report.plots.svg import Scale, log_ticks, round_ticks, seconds_label, time_ticks
from tests.client_sim.report.made import busy, call, run, second, write

VOID = {"meta", "br"}


class Reader(HTMLParser):
    """Checks that every element is closed where it was opened; collects what there is."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.links, self.words, self.pictures = [], [], [], 0

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href", "action", "data", "xlink:href")]
        self.pictures += tag == "svg"
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"{tag} closes something else, at {self.getpos()}"

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture
def made(tmp_path):
    """A page of two regions with everything on it."""
    records = [*busy("near"), *busy("bad-mobile", base_ms=3_000)]
    told = run(tmp_path, records, name="<i>.jsonl", regions=("near", "bad-mobile"), label="<b>near</b> & far")
    return page([told], document([told]), command="python -m client_sim report run.jsonl --out DIR")


def read(html):
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def test_the_page_is_whole_and_needs_nothing_else(made):
    """Every element is closed; nothing is fetched, and the browser is told not to."""
    reader = read(made)
    assert reader.links == []
    assert "@import" not in made
    assert "url(" not in made
    assert "default-src 'none'" in made
    assert re.findall(r"https?://[^\"' <]+", made.replace("http://www.w3.org/2000/svg", "")) == []
    assert reader.pictures >= 10


def test_every_picture_is_sound_xml_with_a_name(made):
    """No number is missing, nothing lies outside the picture."""
    pictures = re.findall(r"<svg.*?</svg>", made, re.DOTALL)
    for picture in pictures:
        root = ET.fromstring(picture)  # noqa: S314 - our own
        assert root[0].tag.endswith("title")
        assert not re.search(r"(?<![a-z])(nan|inf|none)(?![a-z])", re.sub(r"<title>.*?</title>", "", picture).lower())
        width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
        for mark in root.iter():
            for name, most in (
                ("x", width),
                ("cx", width),
                ("x1", width),
                ("y", height),
                ("cy", height),
                ("y2", height),
            ):
                value = mark.attrib.get(name)
                assert value is None or -1 <= float(value) <= most + 1, (mark.tag, mark.attrib)


def test_what_people_gave_is_shown_as_text(made):
    """A label cannot become part of the page."""
    assert "<b>near</b>" not in made
    assert "<i>" not in made
    assert "&lt;b&gt;near&lt;/b&gt; &amp; far" in made


def test_the_verdict_comes_first(made):
    """Then gates, then everything else."""
    words = " ".join(read(made).words)
    places = [
        words.index(each) for each in ("PASS", "Gates", "Pictures", "Figures", "The tester", "Where this comes from")
    ]
    assert places == sorted(places)


def test_a_percentile_is_only_shown_where_samples_carry_it(made):
    """80 turns have a median, but no p95: a dash."""
    row = re.search(r"Voice to voice: the learner.*?</table>", made, re.DOTALL)[0]
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row)[:7]
    assert cells[1] == "80"
    assert cells[2].startswith("1,8")
    assert cells[4:6] == ["\N{EN DASH}"] * 2
    assert "p99" not in row


def test_pages_of_almost_nothing_stand(tmp_path):
    """An empty run, and one whose only conversation failed, have a page too."""
    for name, records in (
        ("a.jsonl", []),
        (
            "b.jsonl",
            [second(1), call(3, ended="failed", setup_ms=None, pieces=0, late_pieces=0, heard_ms=0.0, maya_spoke=[])],
        ),
    ):
        told = run(tmp_path, records, name)
        read(page([told], document([told]), command="x"))


# --- Scales


def test_ticks_are_round():
    """Multiples of 1, 2 or 5; on a logarithmic scale more of them where there are few decades."""
    assert round_ticks(0, 97, 5) == [0, 20, 40, 60, 80]
    assert round_ticks(5, 5) == [5]
    assert log_ticks(50, 5_000) == [50, 100, 200, 500, 1_000, 2_000, 5_000]
    assert len(log_ticks(1_300, 3_300)) >= 4
    assert [label for _, label in time_ticks(150)] == ["0:00", "0:30", "1:00", "1:30", "2:00", "2:30"]
    assert [seconds_label(value) for value in (50, 1_000, 1_500)] == ["50 ms", "1 s", "1.5 s"]


def test_scales_keep_to_their_ends():
    """And equal factors are equally far apart on a logarithmic one."""
    plain = Scale(0, 10, 100, 200)
    assert [plain(value) for value in (-5, 0, 5, 20)] == [100, 100, 150, 200]
    steep = Scale(10, 1_000, 0, 100, logarithmic=True)
    assert steep(100) == pytest.approx(50)


# --- The command


def test_the_command_writes_page_and_document(tmp_path, capsys):
    """The exit status tells of the gates; `--json` prints every figure."""
    path = write(tmp_path / "run.jsonl", [*busy(), second(50, slip=[0.1] * 2_000)])
    out = tmp_path / "deep" / "out"
    assert program.main(["report", str(path), "--out", str(out), "--gate", "false_prompt_share=1"]) == 0
    assert "PASS" in capsys.readouterr().out
    assert read((out / "report.html").read_text()).pictures >= 10
    kept = json.loads((out / "report.json").read_text())
    assert kept["verdict"]["passed"] is True
    status = program.main(["report", str(path), "--out", str(out), "--gate", "v2v_p50_ms=10", "--json"])
    assert status == 1
    told = json.loads(capsys.readouterr().out)
    assert {judged["gate"]: judged["verdict"] for judged in told["verdict"]["gates"]}["v2v_p50_ms"] == "fail"
    assert told["targets"][0]["groups"][0]["latency"]["v2v_ms"]["n"] == 80


def test_an_interval_up_to_all_of_them_is_written_out():
    """Not as a power of ten."""
    assert "68 to 100, n 8" in percent({"share": 1.0, "interval": [0.676, 1.0], "n": 8})
    assert "0.081 to 0.7, n 1,261" in percent({"share": 0.0024, "interval": [0.00081, 0.007], "n": 1261})


def test_an_invalid_run_fails(tmp_path, capsys):
    """Whatever its gates say."""
    path = write(tmp_path / "run.jsonl", [*busy(), second(50, slip=[50.0] * 2_000)])
    assert program.main(["report", str(path), "--out", str(tmp_path), "--gate", "false_prompt_share=1"]) == 1
    assert "NOT VALID" in capsys.readouterr().out
    html = (tmp_path / "report.html").read_text()
    assert "NOT VALID" in html
    assert "run.jsonl: send slip p99 is 5" in " ".join(read(html).words)


def test_a_run_without_an_end_is_told(tmp_path, capsys):
    """It is kept, but nobody takes half of a run for all of it."""
    path = write(tmp_path / "half.jsonl", [*busy(), second(50, slip=[0.1] * 2_000)], ended=None)
    program.main(["report", str(path), "--out", str(tmp_path)])
    assert "half.jsonl: has no end" in capsys.readouterr().out
    assert "half.jsonl: has no end" in " ".join(read((tmp_path / "report.html").read_text()).words)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.jsonl"], "missing.jsonl: No such file"),
        (["{noise}"], "noise.jsonl: is not text"),
        (["{good}", "--gate", "nonsense=1"], "no gate"),
    ],
)
def test_misuse_is_told(tmp_path, capsys, arguments, says):
    """With exit status 2, and nothing is written."""
    good = write(tmp_path / "good.jsonl", [])
    noise = tmp_path / "noise.jsonl"
    noise.write_bytes(b"\xff\xfe\x85")
    arguments = [each.format(good=good, noise=noise) for each in arguments]
    assert program.main(["report", *arguments, "--out", str(tmp_path / "out")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "out").exists()

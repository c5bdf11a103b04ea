"""Records of streams stay within bounds."""

import json
from pathlib import Path

import pytest

from infra.local.nova import records as module
from infra.local.nova.records import Records, Tap


def test_speech_and_cuts_are_kept_when_recording() -> None:
    """Bytes are kept in order, and where the learner interrupted."""
    records = Records(recording=True)
    record = records.open("model", 1.0)
    records.heard(record, b"ab", 1)
    records.said(record, b"cd", 2)
    records.cut(record)
    records.said(record, b"ef", 3)
    records.event(record, "out", "textOutput", {"content": "hi"}, 4.0)
    assert (bytes(record.heard), bytes(record.said), record.cuts) == (b"ab", b"cdef", [2])
    assert record.document()["events"] == [{"at_ms": 4.0, "direction": "out", "name": "textOutput", "content": "hi"}]
    assert json.dumps(record.document())


def test_only_counts_are_kept_otherwise() -> None:
    """Without recording, neither words nor speech nor cuts."""
    records = Records(recording=False)
    record = records.open("model", 1.0)
    records.heard(record, b"ab", 1)
    records.said(record, b"cd", 2)
    records.cut(record)
    records.event(record, "in", "textInput", {"content": "hi"}, 4.0)
    document = record.document()
    assert (document["heard_bytes"], document["said_bytes"], document["inputs"]) == (2, 2, {"textInput": 1})
    assert (document["events"], document["cuts"], len(record.heard), len(record.said)) == ([], [], 0, 0)


def test_the_oldest_closed_streams_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Open streams stay whatever their age; ids go on counting."""
    monkeypatch.setattr(module, "_KEPT_STREAMS", 2)
    records = Records(recording=False)
    still_open = records.open("model", 0)
    for _ in range(4):
        records.open("model", 0).closed_at_ms = 1
    assert [document["id"] for document in records.documents()] == ["s1", "s5"]
    assert records.get("s1") is still_open
    assert records.get("s2") is None
    assert records.opened == 5
    records.forget_closed()
    assert [document["id"] for document in records.documents()] == ["s1"]


def test_kept_speech_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over the bound, the oldest closed stream goes, the one that is speaking stays."""
    monkeypatch.setattr(module, "_KEPT_PCM_BYTES", 100)
    records = Records(recording=True)
    first = records.open("model", 0)
    records.said(first, bytes(80), 1)
    first.closed_at_ms = 1
    second = records.open("model", 0)
    records.heard(second, bytes(60), 2)
    records.heard(second, bytes(60), 3)
    assert records.get("s1") is None
    assert len(second.heard) == 120


def test_the_tap_holds_times_and_counts(tmp_path: Path) -> None:
    """One line for each piece of speech, cumulative for each stream and direction."""
    tap = Tap(tmp_path / "tap")
    records = Records(recording=False, tap=tap)
    record = records.open("model", 0)
    records.heard(record, bytes(3), 10)
    records.said(record, bytes(5), 20)
    records.heard(record, bytes(4), 30)
    records.flush()
    lines = (tmp_path / "tap").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        [10, "s1", "heard", 3],
        [20, "s1", "said", 5],
        [30, "s1", "heard", 7],
    ]
    tap.close()

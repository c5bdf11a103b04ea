"""The state file: there whole or not at all, and nobody else's business."""

import dataclasses
import json
import stat
from pathlib import Path

import pytest

from infra.local.state import State, StateUnreadableError, write_atomically


def state(mark: str = "maya-local-1") -> State:
    """A state with a distinct value in each field."""
    values = {field.name: f"<{field.name}>" for field in dataclasses.fields(State)}
    return State(**{**values, "mark": mark, "lines": 16, "supervisor_pid": 7, "pids": {"nova": 8}})  # type: ignore[arg-type]


def test_programs_find_what_they_were_promised(tmp_path: Path) -> None:
    """The file is a JSON object with the fixed names."""
    state().write(tmp_path / "state.json")
    document = json.loads((tmp_path / "state.json").read_text())
    for name in ("websocket_url", "redis_url", "dynamodb_url", "bedrock_url", "ca_bundle", "connections_url"):
        assert document[name] == f"<{name}>"
    assert State.read(tmp_path / "state.json") == state()


def test_a_file_is_its_owners_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    """It holds a password: only its owner may read it; the draft is gone."""
    state().write(tmp_path / "state.json")
    assert stat.S_IMODE((tmp_path / "state.json").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader never finds half a file, and no draft is left."""
    file = tmp_path / "state.json"
    write_atomically(file, "old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(file, "new")
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_another_clouds_file_is_left_alone(tmp_path: Path) -> None:
    """A cloud removes its own state file, not that of one that was started later with the same name."""
    file = tmp_path / "state.json"
    state("later").write(file)
    state("earlier").remove(file)
    assert file.exists()
    state("later").remove(file)
    assert not file.exists()
    state("later").remove(file)


@pytest.mark.parametrize("content", ["", "[]", "{}", "null", '{"websocket_url": "x"}', "\x00"])
def test_a_file_that_is_something_else_is_told(tmp_path: Path, content: str) -> None:
    """The error names the file."""
    file = tmp_path / "state.json"
    file.write_text(content)
    with pytest.raises(StateUnreadableError, match=r"state\.json is not the state file"):
        State.read(file)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """The error says how to get one; a directory is told apart."""
    with pytest.raises(StateUnreadableError, match="is the local cloud running"):
        State.read(tmp_path / "state.json")
    with pytest.raises(StateUnreadableError, match="cannot be read"):
        State.read(tmp_path)

"""The command that makes speech files and reads them."""

import wave
from pathlib import Path

import pytest

from infra.local.nova.voices.__main__ import main


@pytest.mark.parametrize("rate", [8000, 16000, 24000])
def test_said_and_heard_again(tmp_path: Path, capsys: pytest.CaptureFixture[str], rate: int) -> None:
    """What `say` writes, `hear` prints."""
    path = tmp_path / "day.wav"

    assert main(["say", "--text", "Good day, Maya.", "--out", str(path), "--rate", str(rate)]) == 0
    assert main(["hear", str(path)]) == 0

    assert capsys.readouterr().out == "Good day, Maya.\n"


def test_a_file_of_another_shape_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Stereo at 44.1 kHz is refused in words."""
    path = tmp_path / "music.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(44100)
        file.writeframes(bytes(400))

    assert main(["hear", str(path)]) == 1
    assert "2 channels of 16 bits at 44100 Hz" in capsys.readouterr().err


@pytest.mark.parametrize("content", [b"", b"not a wave file at all"])
def test_a_file_that_is_no_wave_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes) -> None:
    """Empty files and text are refused in words."""
    path = tmp_path / "words.wav"
    path.write_bytes(content)

    assert main(["hear", str(path)]) == 1
    assert "words.wav is not a PCM WAV file" in capsys.readouterr().err


def test_a_missing_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The path that does not exist stands in the error."""
    assert main(["hear", str(tmp_path / "nowhere.wav")]) == 1
    assert "nowhere.wav" in capsys.readouterr().err

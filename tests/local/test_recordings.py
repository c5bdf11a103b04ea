"""The recorded human speech: fetched from an index of our own on this machine, checked, and kept."""

import functools
import hashlib
import http.server
import io
import tarfile
import threading
import wave
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.local import recordings
from infra.local.recordings import RATE, SILENCE_S, Recording, RecordingsError, Source, fetch, main, read_wave

type Publish = Callable[..., Source]


def wave_bytes(seconds: float, rate: int = RATE) -> bytes:
    """Return a WAV file whose samples count up, so that every place in it is different."""
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(rate)
        writer.writeframes(b"".join((n % 30000).to_bytes(2, "little") for n in range(int(seconds * rate))))
    return file.getvalue()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a line for each request."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that the base class has
        """Say nothing."""


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publish]:
    """Run a package index on this machine; return what puts a source package with one WAV file into it."""
    site = tmp_path / "index"
    handler = functools.partial(QuietHandler, directory=str(site))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    for name in (
        "UV_EXTRA_INDEX_URL",
        "UV_INDEX",
        "UV_INDEX_URL",
        "UV_FIND_LINKS",
        "UV_OFFLINE",
        "http_proxy",
        "HTTP_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{address}/simple")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("UV_NO_CONFIG", "1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def put(package: str, data: bytes, name: str, *, published: bytes | None = None) -> Source:
        top = f"{package}-1.0"
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as members:
            for path, content in (
                ("PKG-INFO", f"Metadata-Version: 2.2\nName: {package}\nVersion: 1.0\n".encode()),
                ("a/b.wav", data),
            ):
                member = tarfile.TarInfo(f"{top}/{path}")
                member.size = len(content)
                members.addfile(member, io.BytesIO(content))
        folder = site / "simple" / package
        folder.mkdir(parents=True, exist_ok=True)
        content = archive.getvalue() if published is None else published
        (folder / f"{top}.tar.gz").write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        (folder / "index.html").write_text(f'<a href="{top}.tar.gz#sha256={digest}">{top}.tar.gz</a>')
        return Source(package, "1.0", digest, "Made here.", (Recording("a/b.wav", name, f"words of {package}"),))

    yield put
    server.shutdown()
    thread.join()
    server.server_close()


def test_recordings_are_fetched_joined_and_described(publish: Publish, tmp_path: Path) -> None:
    """Each utterance is kept as it was, and `learner.wav` holds them with silences between."""
    first, second = wave_bytes(0.5), wave_bytes(0.25)
    out = tmp_path / "out"

    assert fetch(out, (publish("speech-one", first, "1.wav"), publish("speech-two", second, "2.wav")))

    assert (out / "1.wav").read_bytes() == first
    silence = bytes(2 * int(SILENCE_S * RATE))
    joined = read_wave((out / "learner.wav").read_bytes(), "learner.wav")
    assert joined == read_wave(first, "") + silence + read_wave(second, "") + silence
    assert (out / "TRANSCRIPT.txt").read_text() == "words of speech-one\nwords of speech-two\n"
    assert "speech-two 1.0\n  Made here.\n  2.wav: a/b.wav" in (out / "SOURCES.txt").read_text()
    assert {path.name for path in out.iterdir()} == {
        "1.wav", "2.wav", "learner.wav", "TRANSCRIPT.txt", "SOURCES.txt", "recordings.json"
    }  # fmt: skip


def test_the_second_time_nothing_is_asked(publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is complete is left alone, without uv and without network."""
    sources = (publish("speech-one", wave_bytes(0.5), "1.wav"),)
    fetch(tmp_path / "out", sources)
    monkeypatch.setattr(recordings, "_uv", lambda: pytest.fail("uv was asked"))

    assert not fetch(tmp_path / "out", sources)


@pytest.mark.parametrize("damage", ["learner.wav", "1.wav", "recordings.json"])
def test_what_is_damaged_is_fetched_again(publish: Publish, tmp_path: Path, damage: str) -> None:
    """A file that was changed is noticed by its digest."""
    sources = (publish("speech-one", wave_bytes(0.5), "1.wav"),)
    fetch(tmp_path / "out", sources)
    (tmp_path / "out" / damage).write_bytes(b"{}")

    assert fetch(tmp_path / "out", sources)
    assert not fetch(tmp_path / "out", sources)


def test_another_archive_under_the_same_version_is_refused(publish: Publish, tmp_path: Path) -> None:
    """The digest in this project counts, not the index's."""
    source = replace(publish("speech-one", wave_bytes(0.5), "1.wav"), sha256="0" * 64)

    with pytest.raises(RecordingsError, match=r"no speech-one 1\.0 with the known digest"):
        fetch(tmp_path / "out", (source,))
    assert not (tmp_path / "out").exists()


def test_a_download_that_differs_from_the_index_is_refused(publish: Publish, tmp_path: Path) -> None:
    """What arrives is checked as well, and nothing of it is kept."""
    source = publish("speech-one", wave_bytes(0.5), "1.wav")
    (tmp_path / "index" / "simple" / "speech-one" / "speech-one-1.0.tar.gz").write_bytes(b"something else")

    with pytest.raises(RecordingsError, match="another digest"):
        fetch(tmp_path / "out", (source,))
    assert list((tmp_path / "out").iterdir()) == []


def test_an_archive_that_vanished_is_named(publish: Publish, tmp_path: Path) -> None:
    """The index lists it, the server does not have it."""
    source = publish("speech-one", wave_bytes(0.5), "1.wav")
    (tmp_path / "index" / "simple" / "speech-one" / "speech-one-1.0.tar.gz").unlink()

    with pytest.raises(RecordingsError, match=r"speech-one could not be downloaded: .*404"):
        fetch(tmp_path / "out", (source,))


def test_a_package_that_the_index_lacks_is_an_error(publish: Publish, tmp_path: Path) -> None:
    """The sentence holds what uv said."""
    source = replace(publish("speech-one", wave_bytes(0.1), "1.wav"), package="speech-nine")

    with pytest.raises(RecordingsError, match="speech-nine"):
        fetch(tmp_path / "out", (source,))


def test_an_archive_without_the_recording_is_named(publish: Publish, tmp_path: Path) -> None:
    """A package that changed inside would be noticed."""
    source = publish("speech-one", wave_bytes(0.5), "1.wav")
    elsewhere = replace(source, recordings=(Recording("c/d.wav", "1.wav", ""),))

    with pytest.raises(RecordingsError, match=r"no file speech-one-1\.0/c/d\.wav"):
        fetch(tmp_path / "out", (elsewhere,))


@pytest.mark.parametrize(
    ("data", "said"), [(wave_bytes(0.1, 8000), "1 channels of 16 bits at 8000 Hz"), (b"RIFF", "is no WAV file")]
)
def test_a_recording_of_another_shape_is_refused(publish: Publish, tmp_path: Path, data: bytes, said: str) -> None:
    """Only 16 kHz, 16-bit mono is of use."""
    with pytest.raises(RecordingsError, match=said):
        fetch(tmp_path / "out", (publish("speech-one", data, "1.wav"),))


def test_an_archive_that_is_none_is_named(publish: Publish, tmp_path: Path) -> None:
    """Whatever the index serves under the right digest."""
    with pytest.raises(RecordingsError, match="no readable archive"):
        fetch(tmp_path / "out", (publish("speech-one", b"", "1.wav", published=b"no archive at all"),))


def test_a_folder_that_cannot_be_written_is_named(publish: Publish, tmp_path: Path) -> None:
    """A file stands where the folder should be."""
    (tmp_path / "out").write_text("")

    with pytest.raises(RecordingsError, match="cannot be written"):
        fetch(tmp_path / "out", (publish("speech-one", wave_bytes(0.1), "1.wav"),))


def test_only_web_addresses_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index cannot point anywhere it likes."""
    source = Source("speech-one", "1.0", "0" * 64, "", ())
    monkeypatch.setattr(recordings, "_locate", lambda _sources: {"speech-one": "ftp://127.0.0.1/x.tar.gz"})

    with pytest.raises(RecordingsError, match="none of the web"):
        fetch(tmp_path / "out", (source,))


def test_offline_the_command_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 1, and one sentence with another way to get speech."""
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))

    assert main(["--out", str(tmp_path / "out")]) == 1

    said = capsys.readouterr().err
    assert said.startswith("No recorded human speech: the package index could not be asked")
    assert "voices say" in said
    assert said.count("\n") == 1


def test_the_command_tells_where_the_recordings_are(
    publish: Publish, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """First and second time alike."""
    source = publish("speech-one", wave_bytes(0.1), "1.wav")
    monkeypatch.setattr(recordings, "fetch", functools.partial(fetch, sources=(source,)))
    out = tmp_path / "out"

    assert main(["--out", str(out)]) == 0
    assert main(["--out", str(out)]) == 0

    assert (
        capsys.readouterr().out
        == f"Recorded human speech is now in {out}\nRecorded human speech was already in {out}\n"
    )


def test_without_uv_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither beside Python nor on the path."""
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RecordingsError, match="make setup"):
        fetch(tmp_path / "out")

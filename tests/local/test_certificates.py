"""The local certificate authority: who trusts whom."""

import datetime as dt
import socket
import ssl
import stat
import threading
from pathlib import Path

import pytest

from infra.local.certificates import ServerCertificate, issue, write_private

NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def files(tmp_path: Path) -> ServerCertificate:
    """A fresh authority and server certificate."""
    return issue(tmp_path, now=NOW)


def shake_hands(files: ServerCertificate, trust: Path, name: str) -> str:
    """Connect to a TLS server that has the certificate; returns the protocol's version."""
    server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_context.load_cert_chain(files.certificate, files.key)
    here, there = socket.socketpair()

    def serve() -> None:
        try:
            server_context.wrap_socket(there, server_side=True).close()
        except OSError:
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        # As strict as Python 3.13's default: extensions of authority and server are checked against RFC 5280.
        context = ssl.create_default_context(cafile=str(trust))
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        with context.wrap_socket(here, server_hostname=name) as connection:
            return connection.version() or ""
    finally:
        here.close()
        thread.join()


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "::1"])
def test_a_client_that_trusts_the_bundle_connects(files: ServerCertificate, name: str) -> None:
    """The certificate is good for this machine by each of its names."""
    assert shake_hands(files, files.ca_bundle, name).startswith("TLSv1.")


def test_another_name_is_refused(files: ServerCertificate) -> None:
    """The certificate stands for this machine and nothing else."""
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(files, files.ca_bundle, "example.com")


def test_a_client_that_trusts_another_authority_refuses(files: ServerCertificate, tmp_path: Path) -> None:
    """The authority of one local cloud is nothing to another's clients."""
    (tmp_path / "other").mkdir()
    other = issue(tmp_path / "other", now=NOW)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(files, other.ca_bundle, "127.0.0.1")


def test_the_bundle_holds_the_authority_alone_unless_another_is_wanted(
    files: ServerCertificate, tmp_path: Path
) -> None:
    """What else is to be trusted goes into the same bundle, since clients are given one."""
    assert files.ca_bundle.read_text().count("BEGIN CERTIFICATE") == 1
    (tmp_path / "both").mkdir()
    both = issue(tmp_path / "both", now=NOW, also_trust=files.ca_bundle)
    assert shake_hands(files, both.ca_bundle, "localhost")
    assert shake_hands(both, both.ca_bundle, "localhost")


def test_a_clock_that_is_a_little_behind_is_no_obstacle(tmp_path: Path) -> None:
    """A certificate made a minute in the future is valid already, one of last year is not any more."""
    early = issue(tmp_path, now=NOW + dt.timedelta(minutes=1))
    assert shake_hands(early, early.ca_bundle, "localhost")
    (tmp_path / "old").mkdir()
    old = issue(tmp_path / "old", now=NOW - dt.timedelta(days=365))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(old, old.ca_bundle, "localhost")


def test_the_servers_key_is_its_owners(files: ServerCertificate) -> None:
    """The private key is readable by its owner alone, and no file is overwritten with it."""
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        write_private(files.key, b"")

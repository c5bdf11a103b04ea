"""Whole local clouds for end-to-end tests: one for the session, private ones for tests that break things."""

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.e2e.clouds import QUICK, Cloud, launch
from tests.e2e.kills import SETTINGS, hold_shaken
from tests.e2e.talks import Watched, hold_all, watched_cloud

type Launcher = Callable[..., AbstractContextManager[Cloud]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder, so that `-m "not e2e"` leaves it out."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """A local cloud for tests that leave it as it was: plain voice, shortest plan, Maya answers at once, recorded.

    After the session no process of it and none of its files may be left.
    """
    with tempfile.TemporaryDirectory() as folder, launch(Path(folder) / "state.json", *QUICK) as running:
        yield running


@pytest.fixture
def private_cloud(tmp_path: Path) -> Launcher:
    """Start a cloud of one's own: `with private_cloud("--lines", "1", environment={...}) as cloud`.

    The arguments follow those of the session's cloud and win over them.
    """
    files = (tmp_path / f"state-{number}.json" for number in itertools.count())

    def begin(*arguments: str, environment: Mapping[str, str] | None = None) -> AbstractContextManager[Cloud]:
        return launch(next(files), *QUICK, *arguments, environment=environment)

    return begin


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A cloud of which everything was watched while conversations of all kinds were held on it; they are over."""
    with watched_cloud(tmp_path_factory.mktemp("watched")) as cloud:
        hold_all(cloud)
        yield cloud


@pytest.fixture(scope="session")
def shaken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A cloud of which everything was watched while its parts were killed under ten conversations; they are over."""
    with watched_cloud(tmp_path_factory.mktemp("shaken"), restarts=True, **SETTINGS) as cloud:
        hold_shaken(cloud)
        yield cloud

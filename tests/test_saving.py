"""An assessment that neither tables nor queue take, in virtual time."""

import asyncio
from typing import Any

import pytest

from gateway.core.conversation.inputs import SaveOutcome
from gateway.core.errors import SaveFailed, ServiceUnavailable
from gateway.saving import Saver
from tests.adapters.written import assessment
from tests.client_sim.virtual import run

AWAY = ServiceUnavailable("away")


class Away:
    """Tables and queue that are away until a moment.

    Attributes:
        tries: when which of them was asked.
    """

    def __init__(self, *, tables_back_s: float, queue_back_s: float) -> None:
        self._back_s = {"save": tables_back_s, "enqueue": queue_back_s}
        self.tries: list[tuple[str, float]] = []
        self.recorded: list[Any] = []

    def save(self, _learner: str, _assessment: Any) -> None:
        self._call("save")

    def enqueue(self, _learner: str, _assessment: Any) -> None:
        self._call("enqueue")

    def _call(self, name: str) -> None:
        now_s = asyncio.get_running_loop().time()
        self.tries.append((name, now_s))
        if now_s < self._back_s[name]:
            raise AWAY

    def record(self, event: str, fields: Any) -> None:
        self.recorded.append((event, fields))

    def failure(self, event: str, error: BaseException, fields: Any) -> None:
        """Nobody looks at these here."""


@pytest.fixture(autouse=True)
def _threads_are_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(call: Any, *arguments: Any) -> Any:
        return call(*arguments)

    monkeypatch.setattr(asyncio, "to_thread", at_once)


def held(world: Away, *, within_s: float = 900.0) -> SaveOutcome:
    """Save, then insist until the invocation's end; returns what the phone was told."""

    async def course() -> SaveOutcome:
        saver = Saver("ann", world)  # type: ignore[arg-type] # as much of the world as it asks
        outcome = await saver.save(assessment())
        await saver.insist(within_s)
        return outcome

    return run(course())


@pytest.mark.parametrize(
    ("tables_s", "queue_s", "told", "tries"),
    [(0, 0, SaveOutcome.SAVED, ["save"]), (9_999, 0, SaveOutcome.QUEUED, ["save", "enqueue"])],
)
def test_one_that_takes_it_is_enough(tables_s, queue_s, told, tries):
    """Nothing is tried again."""
    world = Away(tables_back_s=tables_s, queue_back_s=queue_s)
    assert held(world) is told
    assert [name for name, _ in world.tries] == tries


@pytest.mark.parametrize(("tables_s", "queue_s", "outcome"), [(300, 9_999, "saved"), (9_999, 300, "queued")])
def test_whichever_comes_back_first_gets_it(tables_s, queue_s, outcome):
    """Within half a minute of its return; the log says what became of it."""
    world = Away(tables_back_s=tables_s, queue_back_s=queue_s)
    assert held(world) is SaveOutcome.LOST
    assert 300 <= world.tries[-1][1] <= 330
    assert world.recorded[-1] == ("assessment_settled", {"outcome": outcome})


def test_nobody_is_asked_too_often():
    """The waits grow to half a minute."""
    world = Away(tables_back_s=800, queue_back_s=800)
    held(world)
    assert len(world.tries) < 70


@pytest.mark.parametrize("within_s", [900.0, 50.0, 46.0, 1.0])
def test_the_time_of_the_relay_is_not_overdrawn(within_s):
    """The last try has time for all its time-outs; then the invocation fails, which others see to."""
    world = Away(tables_back_s=9_999, queue_back_s=9_999)
    with pytest.raises(SaveFailed):
        held(world, within_s=within_s)
    assert world.tries[-1][1] <= max(0.001, within_s - 45.0)

"""An assessment on its way to where it is kept: DynamoDB, else the queue, else both again until the relay's time is over."""

import asyncio
from collections.abc import Iterator
from typing import Final

from gateway.core.assessment import Assessment
from gateway.core.conversation.inputs import SaveOutcome
from gateway.core.errors import SaveFailed
from gateway.ports import Services

_LAST_TRY_BEFORE_END_S: Final = 45.0
"""Both calls with all their time-outs and the SDK's own retries take less (`gateway.adapters.assessments`)."""

_FIRST_WAIT_S: Final = 2.0
_MOST_WAIT_S: Final = 30.0


class Saver:
    """Saves one conversation's assessment. A save may be repeated: it is idempotent by session.

    Args:
        learner: whose it is.
        services: the world.
    """

    def __init__(self, learner: str, services: Services) -> None:
        self._learner = learner
        self._services = services
        self._unsaved: Assessment | None = None

    async def save(self, assessment: Assessment) -> SaveOutcome:
        """Save it, or queue it where that fails; what neither takes is kept for `insist`."""
        self._unsaved = assessment
        for call, event, outcome in (
            (self._services.save, "save_failed", SaveOutcome.SAVED),
            (self._services.enqueue, "enqueue_failed", SaveOutcome.QUEUED),
        ):
            try:
                await asyncio.to_thread(call, self._learner, assessment)
            except Exception as error:  # noqa: BLE001 - whatever it is, the assessment is not lost by it
                self._services.failure(event, error, {})
            else:
                self._unsaved = None
                return outcome
        return SaveOutcome.LOST

    async def insist(self, until_s: float) -> None:
        """Go on trying with what could not be saved.

        Args:
            until_s: when the invocation ends, by the loop's clock.

        Raises:
            SaveFailed: the time is over; the failure record of the invocation has it saved from the session's progress.
        """
        loop, waits_s = asyncio.get_running_loop(), _waits_s()
        while self._unsaved is not None:
            wait_s = next(waits_s)
            if loop.time() + wait_s > until_s - _LAST_TRY_BEFORE_END_S:
                raise SaveFailed("neither the tables nor the queue took the assessment")
            await asyncio.sleep(wait_s)
            outcome = await self.save(self._unsaved)
            self._services.record("assessment_settled", {"outcome": outcome.value})


def _waits_s() -> Iterator[float]:
    wait_s = _FIRST_WAIT_S
    while True:
        yield wait_s
        wait_s = min(2 * wait_s, _MOST_WAIT_S)

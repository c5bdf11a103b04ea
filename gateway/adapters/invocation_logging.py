"""Whether Amazon Bedrock keeps what learners and Maya say: its model invocation logging, a setting of the whole account.

On, it writes every prompt and answer, speech included, into a log group or a bucket (Amazon Bedrock user guide, "Monitor model
invocation using CloudWatch Logs and Amazon S3"). Nothing may be kept, so a relay does not open a stream then. The answer is
remembered by the execution environment.
"""

import asyncio
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway.core.errors import AccessRefused, RemoteError
from gateway.core.nova_events import Fault

_KNOWN_FOR_S: Final = 600.0
"""Nobody turns it on by the minute; a conversation lasts as long."""


class InvocationLogging:
    """Asks once in a while, and refuses while it is on.

    Args:
        mode: ``off`` never asks; ``tolerant`` refuses when it is on; ``strict`` also when that cannot be known.
        ask: returns the service's answer; raises `RemoteError`.
        now_s: monotonic time in seconds.
    """

    def __init__(
        self,
        mode: str,
        *,
        ask: Callable[[], Mapping[str, Any]] | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._mode = mode
        self._ask = ask or _ask
        self._now_s = now_s
        self._asked_s = float("-inf")
        self._is_on: bool | None = None

    async def require_off(self) -> None:
        """Return when nothing is kept.

        Raises:
            AccessRefused: it is on, or, if `mode` is ``strict``, cannot be known; its fault is `Fault.MISCONFIGURED`.
        """
        if self._mode == "off":
            return
        if self._now_s() - self._asked_s >= _KNOWN_FOR_S:
            self._is_on = await asyncio.to_thread(self._look)
            self._asked_s = self._now_s()
        if self._is_on or (self._is_on is None and self._mode == "strict"):
            what = "is on" if self._is_on else "cannot be looked at"
            raise AccessRefused(f"{Fault.MISCONFIGURED.label}: Bedrock's model invocation logging {what}")

    def _look(self) -> bool | None:
        """Return whether it is on, None if that cannot be known."""
        try:
            return is_on(self._ask())
        except RemoteError:
            return None


def is_on(answer: Mapping[str, Any]) -> bool:
    """Whether an answer of ``GetModelInvocationLoggingConfiguration`` says that anything is kept."""
    settings = answer.get("loggingConfig") or {}
    kept = [value for name, value in settings.items() if name.endswith("DataDeliveryEnabled")]
    # Without a word on what is delivered, everything is.
    return bool(settings.get("cloudWatchConfig") or settings.get("s3Config")) and (any(kept) or not kept)


def _ask() -> Mapping[str, Any]:
    # Imported here: with the check off, nobody needs them.
    from gateway.adapters.aws_calls import remote_errors  # noqa: PLC0415

    with remote_errors("bedrock"):
        answer: Mapping[str, Any] = _bedrock().get_model_invocation_logging_configuration()
    return answer


@functools.cache
def _bedrock() -> Any:
    from gateway.adapters.aws_calls import client  # noqa: PLC0415

    return client("bedrock", connect_timeout_s=1.0, read_timeout_s=1.5, attempts=1, connections=1)

"""What all streams of the process share: settings, faults, records, ears, voice and mind; and who may open a stream."""

from __future__ import annotations

import asyncio
import random
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from infra.local.nova import service_errors
from infra.local.nova.faults import Client, Fault, FaultBook, Order
from infra.local.nova.interfaces import EarsFactory, MindFactory, Voice, VoiceKind
from infra.local.nova.records import Records
from infra.local.nova.service_errors import HttpError
from infra.local.nova.settings import PROFILES, Profile, Settings


class Faultable(Protocol):
    """An open stream, as the control API and the quota see it."""

    @property
    def model_id(self) -> str:
        """The model that answers."""
        ...

    @property
    def client(self) -> Client:
        """Who holds the stream."""
        ...

    def order(self, fault: Fault) -> None:
        """Let a fault fire in this stream."""
        ...


@dataclass(frozen=True, slots=True)
class Talents:
    """Ears, voice and mind of the process; see `interfaces`."""

    kind: VoiceKind
    make_ears: EarsFactory
    voice: Voice
    make_mind: MindFactory


@dataclass(slots=True)
class Service:
    """State of the process.

    Attributes:
        settings: for streams that open from now on.
        base_settings: what a reset goes back to.
        talents: ears, voice, mind.
        records: of all streams.
        seed: of all randomness; None takes a new one each time.
        faults: ordered for streams to come.
        open_streams: by id.
    """

    settings: Settings
    talents: Talents
    records: Records
    seed: int | None = None
    faults: FaultBook = field(default_factory=FaultBook)
    open_streams: dict[str, Faultable] = field(default_factory=dict)
    base_settings: Settings = field(init=False)

    def __post_init__(self) -> None:
        self.base_settings = self.settings

    def admit(self, model_id: str, headers: Mapping[str, str]) -> Profile:
        """Return the profile of the model that a new stream asks for.

        Raises:
            HttpError: no credentials, an unknown or retired model, or too many streams.
        """
        if "authorization" not in headers:
            raise HttpError(*service_errors.NO_CREDENTIALS)
        profile = PROFILES.get(model_id)
        if profile is None:
            raise HttpError(*service_errors.UNKNOWN_MODEL)
        if profile.end_of_life:
            raise HttpError(*service_errors.END_OF_LIFE)
        if (
            sum(stream.model_id == model_id for stream in self.open_streams.values())
            >= self.settings.limits.max_streams
        ):
            raise HttpError(*service_errors.TOO_MANY_STREAMS)
        return profile

    def order(self, order: Order) -> bool:
        """Take an order for a fault; False when it is for a stream that is not open."""
        if order.scope in {"next", "all"}:
            self.faults.add(order)
            if order.scope == "all" and order.operation == "sonic":
                for stream in list(self.open_streams.values()):
                    if order.is_for(stream.client):
                        stream.order(order.fault)
            return True
        stream_or_none = self.open_streams.get(order.scope)
        if stream_or_none is None:
            return False
        stream_or_none.order(order.fault)
        return True

    def reset(self) -> None:
        """Forget orders, changed settings and the records of closed streams; open streams go on."""
        self.faults.clear()
        self.settings = self.base_settings
        self.records.forget_closed()

    def new_rng(self) -> random.Random:
        """Return the randomness of one stream; the same for the same seed and count of streams."""
        return random.Random(None if self.seed is None else self.seed + self.records.opened)  # noqa: S311  # no secret

    @staticmethod
    def new_id() -> str:
        """Return an id as the service makes them."""
        return str(uuid.uuid4())


def now_ms() -> float:
    """Return the monotonic time of the running loop in ms."""
    return asyncio.get_running_loop().time() * 1000


def unix_ms() -> float:
    """Return the time of day in ms since 1970."""
    return time.time() * 1000


def report_crash(where: str, error: BaseException) -> None:
    """Write an internal error to stderr without its message, which might hold words of a conversation."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = "" if trace is None else f" at {trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
    sys.stderr.write(f"nova: {where} failed with {type(error).__name__}{at}\n")

"""One relay in virtual time: its core, its streams, its lease; it can be killed, and frozen."""

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.core.assessment import Assessment
from gateway.core.conversation import Conversation
from gateway.core.conversation.actions import (
    Action,
    Admit,
    AskMicro,
    CloseStream,
    Disconnect,
    Finish,
    OpenStream,
    Post,
    Record,
    ReleaseLease,
    Save,
    SendEvents,
    StoreProgress,
)
from gateway.core.conversation.inputs import (
    Input,
    MicroAnswered,
    PostOutcome,
    PostSettled,
    ProgressSettled,
    SaveSettled,
    ShutdownAsked,
    StreamEnded,
    StreamOpened,
    StreamSaid,
    TookOver,
)
from tests.world.clock import Timer
from tests.world.nova import VirtualNova, micro

if TYPE_CHECKING:
    from tests.world.world import World

_RENEW_MS = 2_000.0
_STORE_MS = 2.0


class VirtualRelay:
    """A relay of a world.

    Args:
        world: everything around it.
        epoch: of this relay.
        ended: the assessment of the learner's last session.
        session: what it takes up.

    Attributes:
        alive: it was not killed.
        lost: it was killed, or another relay has taken its place.
        saved: it has saved an assessment.
        began_ms: when it began.
        killed_at_ms: when it was killed, None if it was not.
        finished: it came to its end by itself.
    """

    def __init__(
        self, world: "World", epoch: int, *, ended: Assessment | None = None, session: TookOver | None = None
    ) -> None:
        self.world = world
        self.epoch = epoch
        self.session = session
        self.alive = True
        self.lost = False
        self.saved = False
        self.began_ms = world.clock.now_ms
        self.killed_at_ms: float | None = None
        self.finished = False
        self.has_lease = True
        self._frozen = False
        self._waiting: list[Callable[[], None]] = []
        name, chance = f"relay {len(world.relays)}", world.chance
        self.conversation = Conversation(
            world.settings,
            epoch=epoch,
            support_code="test",
            new_prompt_name=lambda: str(uuid.UUID(int=chance.of(f"{name} prompts").getrandbits(128))),
            jitter=chance.of(f"{name} back-off").random,
            wall_offset_ms=1_790_000_000_000.0,
            now_ms=world.clock.now_ms,
            ended=ended,
        )
        self.nova = VirtualNova(
            world.clock,
            lambda stream: chance.of(f"{name} nova {stream}"),
            world.nova_settings,
            said=lambda number, event: self.feed(StreamSaid(number, event)),
            opened=lambda number: self.feed(StreamOpened(number, world.credentials_live_ms)),
            ended=lambda number, fault: self.feed(StreamEnded(number, fault)),
        )
        self._timer = Timer(world.clock, self._next_timer_ms, self._tick)
        world.clock.after(_RENEW_MS, self._renew)
        if session is not None:
            self.feed(session)

    # What happens

    def feed(self, event: Input) -> None:
        """Tell the core what happened, and do what it asks; one that is frozen learns of it when it wakes."""
        if not self.alive:
            return
        if self._frozen:
            self._waiting.append(lambda: self.feed(event))
            return
        for look in self.world.before_input:
            look(event)
        self.conversation.handle(event, self.world.clock.now_ms)
        self._do_all()

    def kill(self) -> None:
        """Lose it, with all that it knows."""
        self.alive = False
        self.lost = True
        self.killed_at_ms = self.world.clock.now_ms
        self.nova.vanish()

    def freeze(self, for_ms: float) -> None:
        """Stop it for a while."""
        self._frozen = True
        self.world.clock.after(for_ms, self._wake)

    def deafen(self) -> None:
        """It finds that it hears nothing any more: it gives its lease away, and leaves the learner to another."""
        if not self.alive or self._frozen or not self.has_lease:
            return
        self._release()
        self.lost = True
        self.feed(ShutdownAsked(replaced=True))

    def _wake(self) -> None:
        """As `gateway.session_keeper`: nothing is done before the lease is certain."""
        self._frozen = False
        self._renew()
        waiting, self._waiting = self._waiting, []
        for step in waiting:
            step()
        self._timer.arm()

    def _renew(self) -> None:
        if not self.alive or self.finished or self._frozen or not self.has_lease:
            return
        if self.world.redis.keep_lease(self.epoch, self.world.clock.now_ms):
            self.world.clock.after(_RENEW_MS, self._renew)
        else:
            self.has_lease = False
            self.lost = True
            self._waiting.clear()
            self.feed(ShutdownAsked(replaced=True))

    def _next_timer_ms(self) -> float | None:
        return self.conversation.next_timer_ms(self.world.clock.now_ms) if self.alive and not self._frozen else None

    def _tick(self) -> None:
        self.conversation.tick(self.world.clock.now_ms)
        self._do_all()

    # What is to be done

    def _do_all(self) -> None:
        for action in self.conversation.take_actions():
            self._do(action)
        for look in self.world.after_step:
            look()
        self._timer.arm()

    def _do(self, action: Action) -> None:
        world, after = self.world, self.world.clock.after
        match action:
            case Post():
                world.carry_down(action, self._settled(action))
            case Disconnect(connection_id):
                world.disconnect(int(connection_id))
            case Admit():
                after(15, lambda: self.feed(world.admission))
            case OpenStream(stream_id, events):
                self.nova.open(stream_id, events)
            case SendEvents(stream_id, events):
                self.nova.send(stream_id, events, heard_to=self.conversation._uplink.next_seq)
            case CloseStream(stream_id):
                self.nova.close(stream_id)
            case AskMicro(part, request):
                world.micro_parts.append(part)
                answer = None if world.micro_fails else micro(request)
                after(400, lambda: self.feed(MicroAnswered(part, answer)))
            case Save(assessment):
                self._save(assessment)
            case StoreProgress(progress, seq):
                self._store(progress, seq)
            case ReleaseLease():
                after(2 * _STORE_MS, self._release)
            case Record():
                world.records.append(action)
                world.recorded_at_ms.append(world.clock.now_ms)
            case Finish():
                self.finished = True
                self._release()

    def _settled(self, action: Post) -> Callable[[PostOutcome], None]:
        return lambda outcome: self.feed(PostSettled(action.connection_id, outcome))

    def _save(self, assessment: Assessment) -> None:
        world = self.world
        if self.has_lease and not world.redis.keep_lease(self.epoch, world.clock.now_ms):
            return
        world.clock.after(10, lambda: self._saved(assessment))
        world.clock.after(20, lambda: self.feed(SaveSettled(world.save_outcome)))

    def _saved(self, assessment: Assessment) -> None:
        self.saved = True
        self.world.saves.append(assessment)

    def _store(self, progress: Any, seq: int) -> None:
        if self.has_lease:
            self.world.clock.after(_STORE_MS / 2, lambda: self.world.redis.store(self.epoch, progress))
            self.world.clock.after(_STORE_MS, lambda: self.feed(ProgressSettled(seq)))

    def _release(self) -> None:
        if self.alive and self.has_lease:
            self.has_lease = False
            self.world.redis.release_lease(self.epoch)

"""From Maya to the phone: numbering, pacing, barge-in, sending again.

One post is under way at a time on a connection, since API Gateway promises no order between posts (SERVICE.md C7). When
it has returned, whatever waits is sent: a quick line gets small pieces at once, a slow one fewer and larger ones, and
no piece ever waits for a timer but the one that would be too far ahead of the learner's ear.
"""

from collections import deque
from dataclasses import dataclass
from typing import Any, Final

from gateway.core.conversation.actions import Post
from gateway.core.conversation.inputs import PostOutcome
from gateway.core.conversation.settings import ConversationSettings
from gateway.core.messages import MAX_INTEGER, AckDown, DownMessage, Interrupted, NumberedDown
from gateway.core.sequencing import Outbox
from gateway.core.wire import encode, encode_audio_down, pcm_bytes_count, pcm_bytes_ms

_SLOW_RETRY_MS: Final = 250.0
"""The first wait after a post that failed; doubled with each that follows it."""

_MOST_SLOW_RETRY_MS: Final = 4_000.0
_NO_TURN: Final = MAX_INTEGER
"""No turn has this number: dropping its sound changes nothing at the phone."""

_CRUMB_MS: Final = 0.001
"""What floating point leaves over is no reason to wait: the timer would ring at the same moment for ever."""

_MENTIONS: Final = 32
"""Messages without a number that may wait; they may get lost, so the oldest goes first."""


@dataclass(frozen=True, slots=True)
class _Sound:
    """Speech that waits: `pcm` is base64 of `pcm_bytes`."""

    turn: int
    pcm: str
    pcm_bytes: int


@dataclass(frozen=True, slots=True)
class _Notice:
    """A numbered message that waits for its number."""

    kind: type[NumberedDown]
    fields: dict[str, Any]
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class _Sent:
    """What was sent and is not acknowledged."""

    data: str
    turn: int | None
    sound_ms: float


class Downlink:
    """The gateway's sending side of one conversation."""

    def __init__(self, settings: ConversationSettings, *, epoch: int) -> None:
        self._settings = settings
        self._epoch = epoch
        self._rate = 24_000
        self._piece_ms = settings.piece_ms
        self._outbox: Outbox[_Sent] = Outbox(hold_ms=settings.hold_ms, resend_after_ms=settings.resend_after_ms)
        self._ordered: deque[_Sound | _Notice] = deque()
        self._urgent: deque[_Notice] = deque()
        self._mentions: deque[DownMessage] = deque(maxlen=_MENTIONS)
        self._mentioned_last = False
        self._again: deque[int] = deque()
        self._connection_id: str | None = None
        self._posting = False
        self._posted: int | None = None
        self._slow = 0
        self._closing = False
        self._acknowledged = -1
        self._is_known = True
        self._not_before_ms = 0.0
        self._unsent_bytes = 0
        self._ahead_ms = 0.0
        self._ahead_at_ms = 0.0

    @property
    def connection_id(self) -> str | None:
        """The phone's connection, None while it is away."""
        return self._connection_id

    @property
    def next_number(self) -> int:
        """The `n` that the next numbered message will have."""
        return self._outbox.next_number

    @property
    def is_known(self) -> bool:
        """Whether the numbers that the phone speaks of are those of this relay."""
        return self._is_known

    @property
    def idle(self) -> bool:
        """Whether everything numbered has been sent and acknowledged."""
        return not self._ordered and not self._urgent and self._outbox.oldest is None

    def speak_at(self, rate: int) -> None:
        """Set the sample rate of Maya's speech."""
        self._rate = rate

    def send_pieces_of(self, piece_ms: float) -> None:
        """Send pieces of at most this length from now on."""
        self._piece_ms = piece_ms

    def ahead_ms(self, now_ms: float) -> float:
        """How much sound waits at the phone, by its last word and the gateway's own clock since."""
        return max(0.0, self._ahead_ms - (now_ms - self._ahead_at_ms))

    def unplayed_ms(self, now_ms: float) -> float:
        """How much of Maya's speech the learner has not heard yet, sent or not."""
        return self.ahead_ms(now_ms) + self._unsent_ms

    @property
    def _unsent_ms(self) -> float:
        # Counted in whole bytes: a sum of durations that never comes back to 0 would have Maya speak for ever.
        return pcm_bytes_ms(self._unsent_bytes, self._rate)

    # The connection

    def attach(self, connection_id: str) -> None:
        """Send by this connection from now on; what belonged to the one before is lost with it."""
        self.detach()
        self._connection_id = connection_id
        self._not_before_ms = 0.0
        self._mentioned_last = True  # so that `ready`, which has a number, comes before everything that has none

    def detach(self) -> None:
        """The phone is away: what has a number waits, what has none is lost."""
        self._connection_id = self._posted = None
        self._slow = 0
        self._posting = self._closing = False
        self._mentions.clear()
        self._again.clear()

    def take_up(self) -> None:
        """A lost relay's session goes on here: until the phone knows, the numbers that it speaks of are that one's."""
        self._is_known = False

    def known(self) -> None:
        """The phone knows of this relay."""
        self._is_known = True

    def resume(self, last_received: int) -> None:
        """Send again every number the phone lacks."""
        if not self._is_known:
            last_received = -1
        self._again = deque(number for number, _ in self._outbox.resume(last_received))

    def forget(self) -> None:
        """Drop what was sent: the app was killed and begins to count where `ready` says."""
        self._outbox.acknowledge(self._outbox.next_number - 1)
        self._again.clear()
        self._is_known = True

    def settled(self, outcome: PostOutcome, retry_after_ms: float, now_ms: float) -> None:
        """The post under way has ended; a lost connection is for the caller to `detach`.

        What was not taken and has a number comes first when there is more to be posted. What will never be taken gives its
        number to an empty piece of speech, without which the app would wait for ever.
        """
        self._posting = False
        if outcome not in (PostOutcome.SLOW, PostOutcome.REFUSED):
            self._slow = 0
            return
        wait_ms = min(_SLOW_RETRY_MS * 2.0**self._slow, _MOST_SLOW_RETRY_MS)
        self._slow += 1
        self._not_before_ms = now_ms + max(retry_after_ms, wait_ms)
        item = None if self._posted is None else self._outbox.get(self._posted)
        if self._posted is None or item is None:
            return
        if outcome is PostOutcome.REFUSED:
            self._empty(self._posted, item)
        self._again.appendleft(self._posted)

    def acknowledged(self, number: int, queue_ms: float, now_ms: float) -> None:
        """The phone has everything up to `number`, and `queue_ms` of sound waits in its speaker queue.

        A number lower than before is an older word, and one never given is none.
        """
        if not self._is_known or not self._acknowledged <= number < self._outbox.next_number:
            return
        self._acknowledged = number
        self._outbox.acknowledge(number)
        underway = sum(item.sound_ms for _, item in self._outbox.unacknowledged)
        self._ahead_ms = queue_ms + underway
        self._ahead_at_ms = now_ms

    # What to send

    def say(self, turn: int, pcm: str) -> None:
        """Queue speech of a turn, base64. Over the bound, the oldest unsent turn is cut."""
        sound = _sound(turn, pcm)
        self._ordered.append(sound)
        self._unsent_bytes += sound.pcm_bytes
        if self._unsent_ms > self._settings.unsent_ms:
            oldest = next(item.turn for item in self._ordered if isinstance(item, _Sound))
            self._drop_unsent(oldest)

    def tell(self, kind: type[NumberedDown], *, part_of: int | None = None, **fields: Any) -> None:
        """Queue a numbered message behind the speech that waits; barge-in drops it with the turn it is part of."""
        self._ordered.append(_Notice(kind, fields, part_of))

    def tell_now(self, kind: type[NumberedDown], *, supersede: bool = False, **fields: Any) -> None:
        """Queue a numbered message before the speech that waits; `supersede` drops waiting ones of its kind."""
        if supersede:
            self._ordered = deque(item for item in self._ordered if isinstance(item, _Sound) or item.kind is not kind)
        self._urgent.append(_Notice(kind, fields))

    def mention(self, message: DownMessage) -> None:
        """Queue a message without a number: it belongs to this connection and may get lost.

        An acknowledgement takes the place of one that still waits.
        """
        if self._connection_id is None or self._closing:
            return
        if isinstance(message, AckDown):
            waiting = [other for other in self._mentions if not isinstance(other, AckDown)]
            self._mentions = deque(waiting, _MENTIONS)
        self._mentions.append(message)

    def say_farewell(self, *last: DownMessage) -> None:
        """Queue the last words on this connection: nothing follows them, whatever waits."""
        for message in last:
            self.mention(message)
        self._closing = True

    def leave(self) -> list[Post]:
        """Let go of the connection; return what was still to be said on it, which is not kept waiting any more."""
        connection_id, unsaid = self._connection_id, list(self._mentions)
        self.detach()
        return [] if connection_id is None else [Post(connection_id, encode(message)) for message in unsaid]

    def interrupt(self, turn: int) -> None:
        """Barge-in: drop what is unsent of the turn, empty what was sent and may be sent again, tell the phone."""
        self._drop_unsent(turn)
        for number, item in list(self._outbox.unacknowledged):
            if item.turn == turn and item.sound_ms:
                self._empty(number, item)
        self._ahead_ms = 0.0
        self._urgent.append(_Notice(Interrupted, {"turn": turn}))

    def _empty(self, number: int, item: _Sent) -> None:
        """Leave nothing of a message but its number."""
        turn = _NO_TURN if item.turn is None else item.turn
        data = encode_audio_down(epoch=self._epoch, n=number, turn=turn, rate=self._rate, pcm="")
        self._outbox.replace(number, _Sent(data, item.turn, 0.0))

    # Sending

    def poll(self, now_ms: float) -> Post | None:
        """Return the next post, None while there is nothing to send or a post is under way."""
        if self._connection_id is None or self._posting or now_ms < self._not_before_ms:
            return None
        self._posted = None
        data = self._next_data(now_ms) if self._has_some(now_ms) else None
        if data is None:
            return None
        self._posting = True
        return Post(self._connection_id, data)

    def next_timer_ms(self, now_ms: float) -> float | None:
        """When `poll` should be called again though nothing happened."""
        if self._connection_id is None or self._posting:
            return None
        if self._not_before_ms > now_ms:
            return self._not_before_ms
        if self._closing:
            return None
        due_ms = self._outbox.next_due_ms
        if not self._ordered:
            return due_ms
        at_ms = now_ms + self._too_far_by_ms(now_ms)
        return at_ms if due_ms is None else min(at_ms, due_ms)

    def _has_some(self, now_ms: float) -> bool:
        """Whether anything waits, or is to be sent again: mostly nothing does."""
        if self._ordered or self._mentions or self._urgent or self._again:
            return True
        due_ms = self._outbox.next_due_ms
        return due_ms is not None and due_ms <= now_ms

    def _next_data(self, now_ms: float) -> str | None:
        """Messages with and without a number take turns: on a line that takes long, none keeps the other waiting."""
        numbered = None
        if not self._closing and (self._mentioned_last or not self._mentions):
            numbered = self._next_numbered(now_ms)
        self._mentioned_last = numbered is None
        return encode(self._mentions.popleft()) if self._mentioned_last and self._mentions else numbered

    def _next_numbered(self, now_ms: float) -> str | None:
        if self._urgent:
            return self._number(self._urgent.popleft(), now_ms)
        again = self._next_again(now_ms)
        if again is not None:
            return again
        if not self._ordered or self._too_far_by_ms(now_ms) > 0:
            return None
        head = self._ordered[0]
        if isinstance(head, _Notice):
            self._ordered.popleft()
            return self._number(head, now_ms)
        return self._number_sound(self._take_piece(head.turn), now_ms)

    def _next_again(self, now_ms: float) -> str | None:
        if not self._again:
            self._again.extend(number for number, _ in self._outbox.next_due(now_ms))
        while self._again:
            number = self._again.popleft()
            item = self._outbox.get(number)
            if item is not None:
                self._outbox.mark_sent(number, now_ms)
                self._posted = number
                return item.data
        return None

    def _number(self, notice: _Notice, now_ms: float) -> str:
        data = encode(notice.kind(n=self._outbox.next_number, epoch=self._epoch, **notice.fields))
        self._posted = self._outbox.append(_Sent(data, notice.turn, 0.0), duration_ms=0.0, now_ms=now_ms)
        return data

    def _number_sound(self, piece: _Sound, now_ms: float) -> str:
        number, sound_ms = self._outbox.next_number, pcm_bytes_ms(piece.pcm_bytes, self._rate)
        data = encode_audio_down(epoch=self._epoch, n=number, turn=piece.turn, rate=self._rate, pcm=piece.pcm)
        self._posted = self._outbox.append(_Sent(data, piece.turn, sound_ms), duration_ms=sound_ms, now_ms=now_ms)
        self._ahead_ms = self.ahead_ms(now_ms) + sound_ms
        self._ahead_at_ms = now_ms
        return data

    def _too_far_by_ms(self, now_ms: float) -> float:
        if not isinstance(self._ordered[0], _Sound):
            return 0.0
        too_far_by_ms = self.ahead_ms(now_ms) + self._piece_ms - self._settings.ahead_ms
        return too_far_by_ms if too_far_by_ms > _CRUMB_MS else 0.0

    def _take_piece(self, turn: int) -> _Sound:
        """Take up to one piece of the turn's speech. Base64 joins only where no padding stands between."""
        room = self._piece_chars
        taken: list[str] = []
        while self._ordered and room > 0:
            head = self._ordered[0]
            if not isinstance(head, _Sound) or head.turn != turn or (taken and taken[-1].endswith("=")):
                break
            self._ordered.popleft()
            if len(head.pcm) > room:
                if taken:
                    self._ordered.appendleft(head)
                    break
                self._ordered.appendleft(_sound(turn, head.pcm[room:]))
                head = _sound(turn, head.pcm[:room])
            taken.append(head.pcm)
            room -= len(head.pcm)
        piece = _sound(turn, "".join(taken))
        self._unsent_bytes -= piece.pcm_bytes
        return piece

    @property
    def _piece_chars(self) -> int:
        samples = int(self._rate * self._piece_ms / 1000)
        return samples // 3 * 8  # three samples are six bytes are eight characters of base64

    def _drop_unsent(self, turn: int) -> None:
        self._ordered = deque(item for item in self._ordered if item.turn != turn)
        self._unsent_bytes = sum(item.pcm_bytes for item in self._ordered if isinstance(item, _Sound))


def _sound(turn: int, pcm: str) -> _Sound:
    return _Sound(turn, pcm, pcm_bytes_count(pcm))

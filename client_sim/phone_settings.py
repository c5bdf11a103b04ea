"""What a phone is told before a conversation, and what it counts during one."""

from dataclasses import dataclass

from gateway.core.messages import PHONE_HOLDS_MS, Module, Rate, Start


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneSettings:
    """Settings of one conversation.

    Attributes:
        session_id: UUID made by the app.
        module: which module is practised.
        voice: Maya's voice.
        language: language tag of the conversation.
        rate: sample rate of the microphone in Hz.
        out_rate: sample rate of the speaker in Hz.
        region: the app's own guess where it is.
        client: name and version of the app.
        hold_ms: speech that is kept until it is acknowledged.
        ping_every_ms: how often the round trip is measured.
        start_within_ms: how long `start` is repeated before the phone gives up.
        resume_within_ms: how long it tries to come back until `ready` has told.
        answer_within_ms: how long `resume` is repeated on an open connection beyond that.
        silent_line_ms: a live connection on which nothing comes for this long is taken for dead.
        bye_within_ms: how long a fatal error waits for its `bye`, and a closing connection for its end.
        assess_within_ms: the same in a conversation under way, which is assessed first.
        retry_first_ms: wait before the second try to come back; doubled each time. The first comes at once.
        retry_longest_ms: longest wait between two tries.
        jitter: 0 to 1; spreads the tries of many phones: a wait lasts half of it at 0 and all of it at 1.
    """

    session_id: str
    module: Module = "academic_speaking"
    voice: str = "amy"
    language: str = "en-GB"
    rate: Rate = 16000
    out_rate: Rate = 24000
    region: str | None = None
    client: str | None = "client_sim"
    hold_ms: float = PHONE_HOLDS_MS
    ping_every_ms: float = 5_000
    start_within_ms: float = 60_000
    resume_within_ms: float = 60_000
    answer_within_ms: float = 15_000
    silent_line_ms: float = 12_000
    bye_within_ms: float = 3_000
    assess_within_ms: float = 60_000
    retry_first_ms: float = 500
    retry_longest_ms: float = 5_000
    jitter: float = 1.0

    @property
    def start(self) -> Start:
        """The session's first message."""
        return Start(
            session_id=self.session_id,
            module=self.module,
            voice=self.voice,
            language=self.language,
            rate=self.rate,
            out_rate=self.out_rate,
            region=self.region,
            client=self.client,
        )


@dataclass(slots=True)
class PhoneFigures:
    """Counts of one conversation.

    Attributes:
        reconnects: how often it came back after a drop.
        epochs: how many relays it has met.
        duplicates: numbered messages that had arrived before.
        stale: messages of an older epoch.
        ignored: messages without type or of unknown type.
        bad: messages that broke the contract.
        errors: `error` messages.
    """

    reconnects: int = 0
    epochs: int = 0
    duplicates: int = 0
    stale: int = 0
    ignored: int = 0
    bad: int = 0
    errors: int = 0

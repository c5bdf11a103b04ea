"""The messages of maya.v1, one class each (protocol.md: From the app, From the gateway).

These models are the contract: the AsyncAPI document and the JSON Schemas are generated from them. They are strict (no
number is taken from a string), refuse fields they do not know, are frozen, and never print what they were given.
Optional fields that are ``None`` are left out on the wire. Times are milliseconds (``_ms``, ``t``, ``at``) or seconds
(``_s``); audio is base64 of 16-bit little-endian mono PCM.
"""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field

from gateway.core.errors import ProtocolError

SUBPROTOCOL = "maya.v1"
"""The WebSocket subprotocol that the app offers and the gateway echoes."""

MAX_MESSAGE_BYTES = 24 * 1024
"""No message is larger, so that no WebSocket frame reaches API Gateway's 32 KB."""

MIN_FRAME_MS = 20
"""The shortest frame of audio that the gateway takes."""

MAX_FRAME_MS = 250
"""The longest frame of audio that either side sends."""

ACK_EVERY_MS = 500
"""How often either side acknowledges, from ``ready`` to ``bye``."""

RESEND_AFTER_MS = 2000
"""What is not acknowledged for this long on a live connection is sent again."""

REPEAT_EVERY_MS = 1000
"""How often the app repeats ``start``, ``resume``, ``lag_choice`` and ``stop`` until they are answered."""

PHONE_HOLDS_MS = 75_000
"""Speech that the app keeps until it is acknowledged."""

GATEWAY_HOLDS_MS = 60_000
"""Speech that the gateway keeps until it is acknowledged."""

NO_RELAY_EPOCH = 0
"""Epoch of an ``error`` or ``bye`` that no relay sent; it is never compared, and never ignored for being low."""

MAX_INTEGER = 2**53 - 1
"""The largest integer that every JSON implementation keeps exact (RFC 8259, section 6)."""

MAX_TEXT_CHARS = 4000
"""Longest ``text``: even if each character takes six bytes of JSON, the message stays within `MAX_MESSAGE_BYTES`."""

Module = Literal["academic_speaking", "general_speaking"]
"""The modules of the test in which a learner speaks with Maya."""

Rate = Literal[8000, 16000, 24000]
"""Sample rates in Hz."""

Who = Literal["maya", "learner"]
State = Literal["connecting", "listening", "thinking", "speaking", "reconnecting", "assessing"]
LagCause = Literal["network", "uplink", "model"]
LagClearedWhy = Literal["answered", "expired", "lag_gone"]
LagAnswer = Literal["continue", "skip"]
ByeReason = Literal["finished", "skipped", "time_limit", "replaced", "maintenance", "failed"]
ErrorCode = Literal[
    "bad_message",
    "bad_audio",
    "not_started",
    "already_started",
    "too_fast",
    "module_locked",
    "session_gone",
    "busy",
    "model_unavailable",
    "internal",
]

Count = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
CountOrNone = Annotated[int, Field(ge=-1, le=MAX_INTEGER, description="-1 stands for none")]
Milliseconds = Annotated[float, Field(ge=0, le=MAX_INTEGER)]
Seconds = Annotated[float, Field(ge=0, le=MAX_INTEGER)]
SessionId = Annotated[
    str,
    Field(
        pattern="^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$",
        description="UUID made by the app",
    ),
]
# The pattern is published but checked by `gateway.core.wire`, which can do it faster and names the fault as audio.
Base64 = Annotated[str, Field(json_schema_extra={"contentEncoding": "base64", "pattern": "^[A-Za-z0-9+/]*={0,2}$"})]
PromptId = Annotated[str, Field(min_length=1, max_length=64)]
PartNumber = Literal[1, 2, 3]


class Message(BaseModel):
    """What both directions share; ``type`` says which message it is."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )
    type: str


# --- App to gateway -------------------------------------------------------------------------------------------------


class Up(Message):
    """A message from the app; ``action`` is what API Gateway selects the route by."""

    action: Literal["stream"] = "stream"


class Start(Up):
    """Begin a conversation; repeated each second until ``ready`` or ``error``."""

    type: Literal["start"] = "start"
    session_id: SessionId
    module: Module
    voice: str = Field(default="amy", pattern="^[a-z]{2,32}$", description="Maya's voice")
    language: str = Field(default="en-GB", pattern="^[a-z]{2,3}-[A-Z]{2}$")
    rate: Rate = Field(default=16000, description="sample rate of the microphone in Hz")
    out_rate: Rate = Field(default=24000, description="sample rate of the speaker in Hz")
    region: str | None = Field(default=None, pattern="^[a-z0-9-]{1,32}$", description="the app's own guess where it is")
    client: str | None = Field(default=None, max_length=64, description="free text: which app, which version")


class Resume(Up):
    """Carry on after a drop, on a new connection; repeated each second until ``ready`` or ``error``."""

    type: Literal["resume"] = "resume"
    session_id: SessionId
    n: CountOrNone = Field(description="last contiguous n received, -1 for none")
    seq: Count = Field(description="oldest frame still held; the next one to be captured if none is held")


class AudioUp(Up):
    """One frame of the learner's speech, 20 to 250 ms, whole samples at the microphone's rate."""

    type: Literal["audio"] = "audio"
    seq: Count = Field(description="0, 1, 2 ... for the whole session, over reconnects")
    t: Milliseconds = Field(description="capture time of the first sample in ms since frame 0")
    pcm: Base64


class AckUp(Up):
    """Received so far, and what is still to be played; every 500 ms."""

    type: Literal["ack"] = "ack"
    n: CountOrNone = Field(description="all up to it has arrived")
    queue_ms: Milliseconds = Field(description="sound waiting in the app's speaker queue")
    turn: Count | None = Field(default=None, description="once after `interrupted`: the turn that was cut")
    heard_ms: Milliseconds | None = Field(
        default=None, description="once after `interrupted`: how much of it was played"
    )


class Ping(Up):
    """Asks the gateway for a ``pong`` at once."""

    type: Literal["ping"] = "ping"
    id: Count
    at: Milliseconds = Field(description="the sender's clock in ms, echoed")


class Pong(Up):
    """Answers the gateway's ``ping`` at once."""

    type: Literal["pong"] = "pong"
    id: Count
    at: Milliseconds = Field(description="as it came in the ping")


class LagChoice(Up):
    """The learner's answer to a ``lag_prompt``; repeated each second until ``lag_cleared`` or ``bye``."""

    type: Literal["lag_choice"] = "lag_choice"
    prompt_id: PromptId
    choice: LagAnswer


class Stop(Up):
    """The learner ends the test; repeated each second until ``status`` ``assessing``."""

    type: Literal["stop"] = "stop"
    seq: CountOrNone = Field(description="number of the last frame of audio, -1 for none")


# --- Gateway to app -------------------------------------------------------------------------------------------------


class Down(Message):
    """A message from the gateway; the app ignores epochs lower than the highest it has seen."""

    epoch: Count = Field(description="of the relay that sent it; 0 in an error or bye that no relay sent")


class NumberedDown(Down):
    """A message that is kept until it is acknowledged and sent again if need be."""

    n: Count = Field(description="0, 1, 2 ... within the epoch, given when first sent")


class Limits(BaseModel):
    """What the gateway takes."""

    model_config = Message.model_config

    frame_ms: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = Field(
        default=(MIN_FRAME_MS, MAX_FRAME_MS), description="shortest and longest frame"
    )
    buffer_s: Seconds = Field(
        default=PHONE_HOLDS_MS / 1000, description="speech that the app should keep until acknowledged"
    )
    conversation_s: Seconds = Field(description="when the conversation ends at the latest")


class Ready(NumberedDown):
    """Maya's line is open: send audio from ``next_seq``."""

    type: Literal["ready"] = "ready"
    session_id: SessionId
    resume_within_s: Seconds = Field(description="how long the line is kept open for an app that is not heard")
    next_seq: Count
    limits: Limits
    support_code: str = Field(max_length=64, description="to quote to the support; says nothing about the learner")


class AckDown(Down):
    """Frames of speech that have been taken."""

    type: Literal["ack"] = "ack"
    seq: CountOrNone = Field(description="all frames up to it are taken")


class AudioDown(NumberedDown):
    """A piece of Maya's speech, up to 250 ms; empty ``pcm`` when barge-in has cut it."""

    type: Literal["audio"] = "audio"
    turn: Count = Field(description="0, 1, 2 ... within the epoch")
    rate: Rate
    pcm: Base64


class Interrupted(NumberedDown):
    """The learner spoke over Maya: drop this turn's unplayed sound now."""

    type: Literal["interrupted"] = "interrupted"
    turn: Count = Field(description="0, 1, 2 ... within the epoch")


class Transcript(NumberedDown):
    """Captions, for the screen only; each replaces those of its turn and speaker that were not final."""

    type: Literal["transcript"] = "transcript"
    turn: Count = Field(description="0, 1, 2 ... within the epoch")
    who: Who
    text: str = Field(max_length=MAX_TEXT_CHARS)
    final: bool


class Part(NumberedDown):
    """The test moves on to a part."""

    type: Literal["part"] = "part"
    part: PartNumber
    title: str = Field(max_length=200)
    cue_card: str | None = Field(default=None, max_length=2000)
    prepare_s: Seconds | None = Field(default=None, description="time to prepare the long turn")
    speak_s: Seconds | None = Field(default=None, description="time of the long turn")


class Status(NumberedDown):
    """What Maya's side is doing."""

    type: Literal["status"] = "status"
    state: State
    retry_in_ms: Milliseconds | None = None
    attempt: Count | None = None


class LagNotice(NumberedDown):
    """Once, early: Maya answers from North America; expect about this much lag."""

    type: Literal["lag_notice"] = "lag_notice"
    expected_ms: Count
    text: str = Field(max_length=500)


class LagPrompt(NumberedDown):
    """The lag is not acceptable: continue or skip?"""

    type: Literal["lag_prompt"] = "lag_prompt"
    prompt_id: PromptId
    lag_ms: Count
    cause: LagCause
    text: str = Field(max_length=500)
    options: tuple[Literal["continue"], Literal["skip"]] = ("continue", "skip")
    expires_s: Seconds


class LagCleared(NumberedDown):
    """Take the prompt off the screen."""

    type: Literal["lag_cleared"] = "lag_cleared"
    prompt_id: PromptId
    why: LagClearedWhy


class GoAway(NumberedDown):
    """The time limit is near."""

    type: Literal["go_away"] = "go_away"
    time_left_s: Seconds


class AssessmentMessage(NumberedDown):
    """The written assessment; ``saved`` when it is in the learner's profile too."""

    type: Literal["assessment"] = "assessment"
    assessment: dict[str, Any]
    saved: bool


class Error(Down):
    """Something went wrong; ``fatal`` ones are followed by ``bye`` (protocol.md: Errors)."""

    type: Literal["error"] = "error"
    code: ErrorCode
    message: str = Field(max_length=500)
    retryable: bool
    fatal: bool
    retry_after_s: Seconds | None = None
    ref: Count | Annotated[str, Field(max_length=64)] | None = Field(
        default=None, description="the seq or the type of the message that this is about"
    )

    @classmethod
    def of(cls, error: ProtocolError, *, epoch: int) -> Self:
        """The message that tells the app of an error."""
        return cls.model_validate(
            {
                "epoch": epoch,
                "code": error.code,
                "message": error.message[:500],
                "retryable": error.retryable,
                "fatal": error.fatal,
                "retry_after_s": error.retry_after_s,
                "ref": error.ref,
            }
        )


class Bye(Down):
    """The last message: the app closes; the gateway deletes the connection after 2 s."""

    type: Literal["bye"] = "bye"
    reason: ByeReason


class PingDown(Down):
    """Asks the app for a ``pong`` at once."""

    type: Literal["ping"] = "ping"
    id: Count
    at: Milliseconds = Field(description="the sender's clock in ms, echoed")


class PongDown(Down):
    """Answers the app's ``ping`` at once."""

    type: Literal["pong"] = "pong"
    id: Count
    at: Milliseconds = Field(description="as it came in the ping")


UpMessage = Start | Resume | AudioUp | AckUp | Ping | Pong | LagChoice | Stop
"""Any message from the app."""

NumberedMessage = (
    Ready
    | AudioDown
    | Interrupted
    | Transcript
    | Part
    | Status
    | LagNotice
    | LagPrompt
    | LagCleared
    | GoAway
    | AssessmentMessage
)
"""Any message from the gateway that has an ``n``."""

DownMessage = NumberedMessage | AckDown | Error | Bye | PingDown | PongDown
"""Any message from the gateway."""

UP_MESSAGES: tuple[type[UpMessage], ...] = get_args(UpMessage)
DOWN_MESSAGES: tuple[type[DownMessage], ...] = get_args(DownMessage)

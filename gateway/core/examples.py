"""One example of each message of maya.v1, for the published contract."""

from typing import Final

from gateway.core.assessment import Assessment
from gateway.core.messages import (
    AckDown,
    AckUp,
    AssessmentMessage,
    AudioDown,
    AudioUp,
    Bye,
    Error,
    GoAway,
    Interrupted,
    LagChoice,
    LagCleared,
    LagNotice,
    LagPrompt,
    Limits,
    Message,
    Part,
    Ping,
    PingDown,
    Pong,
    PongDown,
    Ready,
    Resume,
    Start,
    Status,
    Stop,
    Transcript,
)

_SESSION: Final = "0b9f3a52-6f0e-4c1d-9a57-2f6f0c9d1e11"
_EPOCH: Final = 1_795_176_000_000
_SILENCE_20_MS_AT_8000_HZ: Final = "A" * 426 + "A="
_PROMPT: Final = "lag-1"

_CRITERIA: Final = {
    "fluency_coherence": {"band": 6, "comment": "You kept going without long pauses.", "basis": "heard"},
    "lexical_resource": {"band": 7, "comment": "You chose precise words.", "basis": "heard"},
    "grammatical_range_accuracy": {"band": 6, "comment": "Your past tenses were not always right.", "basis": "heard"},
    "pronunciation": None,
}
_ASSESSMENT: Final = Assessment.model_validate(
    {
        "session_id": _SESSION,
        "module": "academic_speaking",
        "status": "partial",
        "parts_assessed": [1],
        "criteria": _CRITERIA,
        "overall": 6.5,
        "summary": "A good beginning: your answers were clear and to the point.",
        "strengths": ["Precise words"],
        "next_steps": ["Practise the past tenses"],
        "parts": [{"part": 1, "criteria": _CRITERIA}],
        "spoken_s": 84,
        "epoch": _EPOCH,
        "created_at": "2026-11-20T12:00:00Z",
    }
).model_dump(mode="json")

EXAMPLES: Final[tuple[Message, ...]] = (
    Start(session_id=_SESSION, module="academic_speaking", region="ap-southeast-1", client="example 1.0"),
    Resume(session_id=_SESSION, n=41, seq=118),
    AudioUp(seq=0, t=0, pcm=_SILENCE_20_MS_AT_8000_HZ),
    AckUp(n=41, queue_ms=250),
    Ping(id=7, at=93_500),
    Pong(id=3, at=1_795_176_093_500),
    LagChoice(prompt_id=_PROMPT, choice="continue"),
    Stop(seq=4210),
    Ready(
        epoch=_EPOCH,
        n=0,
        session_id=_SESSION,
        resume_within_s=60,
        next_seq=0,
        limits=Limits(conversation_s=810),
        support_code="K7QX-2M9D",
    ),
    AckDown(epoch=_EPOCH, seq=117),
    AudioDown(epoch=_EPOCH, n=5, turn=1, rate=24000, pcm=_SILENCE_20_MS_AT_8000_HZ),
    Interrupted(epoch=_EPOCH, n=9, turn=1),
    Transcript(epoch=_EPOCH, n=6, turn=1, who="maya", text="Good morning.", final=True),
    Part(
        epoch=_EPOCH,
        n=20,
        part=2,
        title="Long turn",
        cue_card="Describe a book that you enjoyed.",
        prepare_s=60,
        speak_s=120,
    ),
    Status(epoch=_EPOCH, n=10, state="reconnecting", retry_in_ms=2000, attempt=2),
    LagNotice(epoch=_EPOCH, n=2, expected_ms=900, text="Maya answers from North America."),
    LagPrompt(
        epoch=_EPOCH,
        n=30,
        prompt_id=_PROMPT,
        lag_ms=2400,
        cause="network",
        text="The line is slow. Continue, or skip?",
        expires_s=20,
    ),
    LagCleared(epoch=_EPOCH, n=31, prompt_id=_PROMPT, why="answered"),
    GoAway(epoch=_EPOCH, n=80, time_left_s=30),
    AssessmentMessage(epoch=_EPOCH, n=90, assessment=_ASSESSMENT, saved=True),
    Error(
        epoch=_EPOCH,
        code="bad_audio",
        message="pcm: must last 20 to 250 ms",
        retryable=False,
        fatal=False,
        ref=118,
    ),
    Bye(epoch=_EPOCH, reason="finished"),
    PingDown(epoch=_EPOCH, id=3, at=1_795_176_093_500),
    PongDown(epoch=_EPOCH, id=7, at=93_500),
)

_BY_CLASS: Final = {type(example): example for example in EXAMPLES}


def of[M: Message](message: type[M]) -> M:
    """The example of a message."""
    example = _BY_CLASS[message]
    assert isinstance(example, message)
    return example

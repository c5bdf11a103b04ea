"""The talk between Maya and the learner, from what the current stream says: turns, barge-in, captions, transcript."""

from collections.abc import Callable
from typing import Any, Final

from gateway.core.conversation.downlink import Downlink
from gateway.core.conversation.examiner import Examiner, PartEvent
from gateway.core.conversation.line import MayaLine
from gateway.core.conversation.speech import Speech
from gateway.core.conversation.transcript import TYPICAL_LETTER_MS, MayaTurn, Transcript
from gateway.core.conversation.watch import Sign
from gateway.core.messages import MAX_TEXT_CHARS, Status
from gateway.core.messages import Transcript as Caption
from gateway.core.nova_events import (
    AudioOutput,
    ContentEnd,
    ContentKind,
    ContentStart,
    HistoryTurn,
    InterruptedMarker,
    OutputEvent,
    Role,
    Stage,
    StopReason,
    TextOutput,
    UserSpeechEnd,
    UserSpeechStart,
)
from gateway.core.prompts import says_closing

_OPEN_CONTENTS: Final = 64
"""Containers of the model remembered at a time; it opens one or two."""

_AUDIBLE_MS: Final = 20.0
"""Less of Maya's speech than this is not worth an interruption: by the clocks of both ends it has been played."""

_MS_PER_WORD: Final = 400.0
"""Speaking time of a word where the service does not say when speech began and ended."""


class Dialogue:
    """Turns of both sides in one conversation, over all its streams.

    A turn of Maya's begins with its first text or sound, and is over when its sound ends a turn, when the learner
    speaks over it, or when its stream is left. Its text is settled, once, when nothing can change it any more.
    """

    def __init__(self, downlink: Downlink, line: MayaLine, transcript: Transcript) -> None:
        self._downlink = downlink
        self._line = line
        self._transcript = transcript
        self._turns = 0
        self._utterances = 0
        self._letter_ms = TYPICAL_LETTER_MS
        self._open: MayaTurn | None = None
        self._unsettled: list[MayaTurn] = []
        self._deaf_to_model = False
        self._contents: dict[str, tuple[Role, Stage | None]] = {}
        self._status: str | None = None
        self._speech: Speech | None = None
        self._untold: Speech | None = None
        self._line.watch.learner_has_floor = self._learner_has_floor
        self.examiner: Examiner | None = None
        self.spoken_ms: dict[int, float] = {}
        self.recalled: list[HistoryTurn] = []
        self._handlers: dict[type[OutputEvent], Callable[[Any, float], None]] = {
            AudioOutput: self._on_audio,
            TextOutput: self._on_text,
            ContentStart: self._on_content_start,
            ContentEnd: self._on_content_end,
            InterruptedMarker: self._on_interrupted,
            UserSpeechStart: self._on_user_speech_start,
            UserSpeechEnd: self._on_user_speech_end,
        }

    @property
    def part(self) -> int:
        """The part under way, 0 before the first."""
        return self.examiner.plan.part if self.examiner else 0

    @property
    def maya_owes(self) -> bool:
        """Whether Maya is to speak next: she was speaking, or has said nothing yet, or the learner has finished."""
        if self._open is not None or not self.maya_has_begun:
            return True
        if self._unsettled:
            return self._unsettled[-1].interrupted and not self._unsettled[-1].complete
        return self._transcript.utterances[-1].who == "learner"

    @property
    def maya_has_begun(self) -> bool:
        """Whether Maya has said anything in the part under way."""
        turns = [*self._unsettled, *([self._open] if self._open else [])]
        settled = self._transcript.of_part(self.part)
        return any(turn.part == self.part for turn in turns) or any(said.who == "maya" for said in settled)

    @property
    def maya_speaks(self) -> bool:
        """Whether Nova Sonic is in the middle of a turn of Maya's."""
        return self._open is not None

    @property
    def answer_is_due(self) -> bool:
        """Whether the learner waits for Maya."""
        return (self._speech is not None and self._speech.over) or self.maya_owes

    @property
    def speech_pending(self) -> bool:
        """Whether the learner was heard to speak, and what was said is not known yet."""
        return self._speech is not None

    @property
    def answer_comes_again(self) -> bool:
        """Whether the learner had finished, what was said is not known, and another stream hears it once more."""
        return self._speech is not None and self._speech.over and self._speech.again

    @property
    def said(self) -> int:
        """How much has been said: grows with every utterance of either side."""
        return self._turns + self._utterances

    @property
    def reconnecting(self) -> bool:
        """Whether the phone was told that Maya is being called back."""
        return self._status == "reconnecting"

    @property
    def learner_speaks(self) -> bool:
        """Whether the learner is in the middle of an utterance, as far as the service tells."""
        return self._speech is not None and not self._speech.again

    @property
    def is_thinking(self) -> bool:
        """Whether the learner has finished and Maya is to answer."""
        return self._status == "thinking"

    @property
    def quiet(self) -> bool:
        """Whether neither side is in the middle of something."""
        return self._open is None and self._status == "listening" and not self.learner_speaks

    def handle(self, event: OutputEvent, now_ms: float) -> None:
        """Take an event of the current stream; kinds that do not matter here are ignored."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event, now_ms)

    def status(self, state: str, *, at_once: bool = True, **fields: Any) -> None:
        """Tell the phone what Maya's side is doing, when it changes."""
        if state == self._status and not fields:
            return
        self._status = state
        if at_once:
            self._downlink.tell_now(Status, supersede=True, state=state, **fields)
        else:
            self._downlink.tell(Status, state=state, **fields)

    def repeat_status(self) -> None:
        """Tell the phone again: it has forgotten."""
        if self._status is not None:
            self._downlink.tell(Status, state=self._status)

    def heard(self, turn_number: int, heard_ms: float) -> None:
        """The phone says how much of an interrupted turn was played."""
        for turn in self._unsettled:
            if turn.turn == turn_number and turn.interrupted:
                turn.heard_ms = min(heard_ms, turn.sound_ms)

    def leave_stream(self, heard_ms: float, *, again: bool) -> None:
        """The current stream is left. What it said so far was sent and is heard; the rest of its turn never comes.

        Args:
            heard_ms: how much sound it was sent.
            again: its successor hears once more what the learner was saying.
        """
        if self._open is not None:
            self._open.interrupted = True
            self._open.heard_ms = self._open.sound_ms
            self._close_turn()
        self._deaf_to_model = False
        self._contents.clear()
        self._untold = None
        speech = self._speech
        if speech is not None and not (speech.over or speech.again):
            speech.ended_ms = heard_ms
        if speech is not None and again:
            speech.again = True
        else:
            self._count_speech()

    def give_up_speech(self) -> None:
        """What the learner was saying is not played to another stream."""
        self._count_speech()

    def history(self) -> list[HistoryTurn]:
        """What was said so far, as a new stream is seeded with it."""
        unsettled = [HistoryTurn(Role.ASSISTANT, turn.text) for turn in self._unsettled]
        return [*self.recalled, *self._transcript.history(), *unsettled]

    @property
    def maya_last_said(self) -> str:
        """Maya's last turn, or nothing."""
        return next((turn.text for turn in reversed(self.history()) if turn.role is Role.ASSISTANT), "")

    def settle(self) -> None:
        """Write Maya's finished turns into the transcript and tell the phone their final text."""
        for turn in self._unsettled:
            text = turn.text
            self._transcript.add("maya", turn.part, text)
            self._caption(turn.turn, "maya", text, final=True)
        self._unsettled.clear()

    # Maya

    def _on_content_start(self, event: ContentStart, _now_ms: float) -> None:
        if len(self._contents) >= _OPEN_CONTENTS:
            self._contents.pop(next(iter(self._contents)))
        self._contents[event.content_id] = (event.role, event.stage)

    def _on_text(self, event: TextOutput, now_ms: float) -> None:
        role, stage = self._contents.get(event.content_id, (event.role, None))
        role = event.role or role
        if role is Role.USER:
            self._learner_said(event.text, now_ms)
        elif role is Role.ASSISTANT and stage is Stage.FINAL:
            self._final_text(event.text)
        elif role is Role.ASSISTANT:
            self._planned_text(event.text, now_ms)

    def _planned_text(self, text: str, now_ms: float) -> None:
        if self._deaf_to_model:
            return
        self._line.spoke(now_ms)
        turn = self._turn()
        turn.add_text(text)
        self._caption(turn.turn, "maya", turn.planned_text, final=False)
        if self.examiner is not None and says_closing(self.examiner.plan, turn.planned_text):
            self.examiner.move(PartEvent.CLOSING_SAID, now_ms)

    def _final_text(self, text: str) -> None:
        """Final text comes late: it belongs to the oldest turn that lacks it."""
        turns = [*self._unsettled, *([self._open] if self._open else [])]
        any(turn.add_final(text) for turn in turns)

    def _on_audio(self, event: AudioOutput, now_ms: float) -> None:
        if self._deaf_to_model:
            return
        self._line.spoke(now_ms)
        turn = self._turn()
        if not turn.sound_ms:
            self.status("speaking", at_once=False)
        turn.add_sound(event.pcm_bytes / 2 / self._line.voice.out_rate * 1000)
        self._downlink.say(turn.turn, event.pcm_base64)

    def _on_content_end(self, event: ContentEnd, now_ms: float) -> None:
        self._contents.pop(event.content_id, None)
        if event.stop_reason is StopReason.INTERRUPTED:
            self._on_interrupted(event, now_ms)
        elif event.kind is ContentKind.AUDIO and event.stop_reason is StopReason.END_TURN:
            self._turn_done(now_ms)

    def _turn_done(self, now_ms: float) -> None:
        self._line.watch.note(Sign.DONE, now_ms)
        if self._open is None:
            self._deaf_to_model = False
            return
        self._open.complete = True
        self._letter_ms = self._open.measured_letter_ms
        self._close_turn()
        self.status("listening", at_once=False)
        if self.examiner is not None:
            self.examiner.maya_finished(now_ms + self._downlink.unplayed_ms(now_ms), now_ms)

    def _on_interrupted(self, _event: InterruptedMarker | ContentEnd, now_ms: float) -> None:
        """The service says that Maya was interrupted; nothing more of that turn comes."""
        self._line.watch.note(Sign.DONE, now_ms)
        self._barge_in(now_ms)
        self._deaf_to_model = False

    def _barge_in(self, now_ms: float) -> None:
        """Stop the turn that the learner spoke over, once, whichever sign comes first."""
        turn = self._open
        if turn is None:
            last = self._unsettled[-1] if self._unsettled else None
            if last is None or last.interrupted or self._downlink.unplayed_ms(now_ms) < _AUDIBLE_MS:
                return
            turn = last
        elif turn.sound_ms == 0 and not turn.sentences:
            return
        turn.interrupted = True
        turn.heard_ms = max(0.0, turn.sound_ms - self._downlink.unplayed_ms(now_ms))
        self._downlink.interrupt(turn.turn)
        if turn is self._open:
            self._deaf_to_model = True
            self._close_turn()
            if self.examiner is not None:
                self.examiner.maya_finished(now_ms, now_ms, interrupted=True)
        self.status("listening")

    def _turn(self) -> MayaTurn:
        if self._open is None:
            self.settle()
            self._open = MayaTurn(self._turns, self.part, letter_ms=self._letter_ms)
            self._turns += 1
            if self._speech is not None and not self._speech.over:
                self._speech.overtaken = True
            if self.examiner is not None:
                self.examiner.maya_speaks()
        return self._open

    def _close_turn(self) -> None:
        if self._open is not None:
            self._unsettled.append(self._open)
            self._open = None

    # The learner

    def _learner_has_floor(self, now_ms: float) -> bool:
        return self._open is None and self._downlink.unplayed_ms(now_ms) <= 0

    def _on_user_speech_start(self, event: UserSpeechStart, now_ms: float) -> None:
        self._line.watch.note(Sign.STARTED, now_ms)
        self._line.learner_spoke()
        before = self._speech
        if before is not None and before.again:
            before = self._speech = None
        self._count_speech()
        self._untold = before if before is not None and before.over else None
        self._speech = Speech(event.offset_ms)
        if self.examiner is not None:
            self.examiner.learner_speaks()
        self._barge_in(now_ms)
        self.status("listening")

    def _on_user_speech_end(self, event: UserSpeechEnd, now_ms: float) -> None:
        self._deaf_to_model = False
        speech = self._speech or Speech()
        speech.ended_ms = event.offset_ms
        # What came between the end and its discovery was silence; a frame may begin before the one and end after it.
        speech.understood_ms = event.offset_ms if event.detection_offset_ms is None else event.detection_offset_ms
        self._speech = speech
        self._learner_finished(speech, now_ms)

    def _learner_said(self, text: str, now_ms: float) -> None:
        self._deaf_to_model = False
        self.settle()
        self._transcript.add("learner", self.part, text)
        self._utterances += 1
        self._caption(self._turns, "learner", text, final=True)
        speech, before, self._untold = self._speech or Speech(), self._untold, None
        if before is not None and not speech.over:  # the learner went on before the text came
            self._line.settle(before.understood_ms)
            return
        if speech.over:
            self._line.watch.note(Sign.WORDS if speech.answer_due else Sign.LISTENED, now_ms)
        else:
            self._learner_finished(speech, now_ms)
        self._count_speech(text)
        self._line.settle(speech.understood_ms)

    def _learner_finished(self, speech: Speech, now_ms: float) -> None:
        """An utterance is over; where Maya has answered it already, or need not, it is the learner's turn again."""
        speech.over = True
        speech.answer_due = not speech.overtaken and (self.examiner is None or self.examiner.maya_answers)
        self._line.learner_spoke()
        self._line.watch.note(Sign.ENDED if speech.answer_due else Sign.LISTENED, now_ms)
        if speech.answer_due:
            self.status("thinking")
        if self.examiner is not None:
            direction = self.examiner.learner_answered(now_ms)
            if direction is not None:
                self._line.direct(direction, now_ms)

    def _count_speech(self, text: str = "") -> None:
        """The utterance under way is over for good: count how long it lasted, by its words where nothing else is known."""
        speech, self._speech = self._speech, None
        length_ms = speech.length_ms if speech is not None else None
        if length_ms is None:
            length_ms = len(text.split()) * _MS_PER_WORD
        if length_ms:
            self.spoken_ms[self.part] = self.spoken_ms.get(self.part, 0.0) + length_ms

    def _caption(self, turn: int, who: str, text: str, *, final: bool) -> None:
        if not text.strip():
            return
        caption: dict[str, Any] = {"turn": turn, "who": who, "text": text[:MAX_TEXT_CHARS], "final": final}
        if who == "maya" and not final:
            self._downlink.tell(Caption, part_of=turn, **caption)
        else:
            self._downlink.tell_now(Caption, **caption)

"""Every number of a conversation, with its unit in its name."""

from dataclasses import dataclass, field

from gateway.core.exam import ExamPlan, build_plan
from gateway.core.flood import FloodLimits
from gateway.core.lag.settings import LagSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationSettings:
    """Timings, sizes and limits of one conversation.

    Attributes:
        plan: the test to hold.
        flood: how many messages are too many.
        lag: the numbers of the lag monitor.
        resume_within_s: how long Maya's line waits for a phone that went away.
        start_within_s: a relay that nobody talks to ends after this.
        ack_every_ms: cumulative acknowledgement to the phone (maya.v1: 500 ms).
        resend_after_ms: what is unacknowledged for this long is sent again (maya.v1: 2 s).
        hold_ms: the gateway keeps this much unacknowledged sound for the phone (maya.v1: 60 s).
        piece_ms: the longest piece of Maya's speech in one message (maya.v1: 250 ms).
        ahead_ms: Maya's speech is sent at most this far ahead of what was played (maya.v1: 3 s).
        unsent_ms: Maya's speech that waits to be sent; more than this much is cut at the oldest turn.
        window_frames: frames of the phone that may wait for an earlier one: a full buffer of the shortest.
        replay_ms: speech without a final transcript that is kept for a stream's successor (at most 150 s).
        replay_speed: how many times faster than real time it is played to the successor; 0 for all at once. Whether the
            service takes it faster than real time is unconfirmed.
        too_far_ahead_ms: `too_fast` when `t` runs this far ahead of real time.
        too_fast_ratio: `too_fast` when audio comes this many times faster than real time for `too_fast_s`.
        too_fast_s: see above; also how long it may go on until it is fatal.
        phone_buffer_s: the app's own buffer, told in `ready`.
        go_away_s: when the learner is told that the time limit is near.
        time_limit_s: when the assessment begins, whatever part is reached.
        stop_within_ms: a `stop` is taken after this even if frames are missing.
        prime_ms: sound that a stream must have heard before Maya is asked to speak (SERVICE.md A4: 68 ms).
        catch_up_within_ms: her cue waits at most so long for a phone that sends what it captured while nobody took it.
        unasked_within_ms: a learner who was heard before the cue and is not answered for so long is left to the cue.
        nudge_s: Maya asks again after this much silence of the learner.
        nudges: at most so many in a row.
        answer_within_s: a stream that leaves the learner or a stage direction unanswered for so long is dead (SERVICE.md
            A10: usually 1 s).
        first_answer_within_s: the same for the first answer of a stream (SERVICE.md A10: 10 s seen).
        answer_over_speech_within_s: the same for a stage direction that came while the learner was speaking.
        longest_speech_s: a stream that has not told the end of an utterance for so long is suspected to be dead.
        turn_gap_s: a stream that stops in the middle of Maya's turn for so long is dead (SERVICE.md A4: 0.4 s seen).
        pause_ms: quiet after speech that must end the learner's turn for the service, too (SERVICE.md A5: 2 s).
        tell_within_s: a stream that has not told of such speech this long after the pause is suspected to be dead.
        suspect_again_s: a suspicion that proves wrong is not raised again for so long; doubled each time.
        wrap_up_s: a part over its time is closed by force after this.
        last_words_s: a part that is over waits at most so long for the end of what the learner is saying.
        renew_s: a stream of this age is followed by a new one at the next pause (SERVICE.md A8: it ends at 8 min).
        renew_by_s: at this age it is followed at once, pause or not, as soon as Maya's turn is complete.
        renew_overlap_ms: a fresh stream hears so much of the sound before a change in a pause again.
        credentials_margin_s: a stream is followed by a new one so long before its credentials end (SERVICE.md A8); a
            quarter of it is the latest moment.
        assess_within_s: a stream that has not assessed its part by then is given up.
        finish_within_s: from the end of the test to the save; Nova Micro's help is given up by then.
        hurry_s: the same when the relay must end.
        assess_from_s: a part in which the learner spoke less is not assessed.
        assess_skipped_from_s: a test that is skipped before any part was assessed is assessed if they spoke so long.
        retries: how often a lost stream is followed by another attempt.
        retry_after_ms: first back-off; doubled each time, with jitter.
        reconnecting_after_ms: the learner is told of a recovery that takes longer.
        part_with_ms: the connection is deleted this long after `bye` (maya.v1: 2 s).
        deliver_within_ms: the assessment must be acknowledged by then, or `bye` follows all the same.
        voice_tokens: `maxTokens` of an answer.
        top_p: sampling.
        temperature: sampling.
    """

    plan: ExamPlan = field(default_factory=lambda: build_plan("full"))
    flood: FloodLimits = field(default_factory=FloodLimits)
    lag: LagSettings = field(default_factory=LagSettings)
    resume_within_s: float = 60.0
    start_within_s: float = 30.0
    ack_every_ms: float = 500.0
    resend_after_ms: float = 2_000.0
    hold_ms: float = 60_000.0
    piece_ms: float = 250.0
    ahead_ms: float = 3_000.0
    unsent_ms: float = 120_000.0
    window_frames: int = 4_096
    replay_ms: float = 150_000.0
    replay_speed: float = 0.0
    too_far_ahead_ms: float = 15_000.0
    too_fast_ratio: float = 3.0
    too_fast_s: float = 30.0
    phone_buffer_s: int = 75
    go_away_s: float = 780.0
    time_limit_s: float = 810.0
    stop_within_ms: float = 3_000.0
    prime_ms: float = 100.0
    catch_up_within_ms: float = 5_000.0
    unasked_within_ms: float = 3_000.0
    nudge_s: float = 15.0
    nudges: int = 2
    answer_within_s: float = 8.0
    first_answer_within_s: float = 15.0
    answer_over_speech_within_s: float = 30.0
    longest_speech_s: float = 150.0
    turn_gap_s: float = 5.0
    pause_ms: float = 3_000.0
    tell_within_s: float = 2.5
    suspect_again_s: float = 15.0
    wrap_up_s: float = 30.0
    last_words_s: float = 5.0
    renew_s: float = 440.0
    renew_by_s: float = 465.0
    renew_overlap_ms: float = 3_000.0
    credentials_margin_s: float = 60.0
    assess_within_s: float = 25.0
    finish_within_s: float = 45.0
    hurry_s: float = 10.0
    assess_from_s: float = 1.0
    assess_skipped_from_s: float = 30.0
    retries: int = 4
    retry_after_ms: float = 1_000.0
    reconnecting_after_ms: float = 1_000.0
    part_with_ms: float = 2_000.0
    deliver_within_ms: float = 5_000.0
    voice_tokens: int = 1_024
    top_p: float = 0.9
    temperature: float = 0.7

    @property
    def longest_s(self) -> float:
        """How long a conversation holds its line, if all of it takes as long as it may."""
        talk_s = sum(part.time_limit_s + self.wrap_up_s for part in self.plan.parts)
        return min(self.time_limit_s, talk_s) + self.finish_within_s

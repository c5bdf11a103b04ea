"""Every number of the lag monitor, with its unit in its name."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LagSettings:
    """When lag is measured, when it is too much, and how often a learner is asked.

    Where the thresholds come from: ITU-T G.114 (05/2003) plans for at most 400 ms one way, 800 ms there and back, and Nova
    Sonic's first sound comes up to 1,350 ms after the end of speech (SERVICE.md A10). Together, 2,150 ms, they are the
    slowest that is still as it should be; a question to the learner interrupts, so it waits for a little more than that.

    Attributes:
        ask_over_ms: the learner is asked when the felt lag stays at or over this.
        clear_under_ms: the question is taken back when the felt lag stays at or under this.
        sustain_ms: so long it must stay over the threshold; longer than one stall of a mobile line and its echo in the
            median of the round trips.
        dip_ms: a dip below the threshold that is no longer than this does not end that time.
        clear_after_ms: so long it must stay under the threshold.
        answer_within_s: no answer after this long counts as continue.
        answer_grace_ms: an answer may be on its way for so long beyond that.
        cool_down_s: after continue, or no answer, the learner is left in peace for this long,
        worse_by_ms: unless the felt lag grows by this much over that of the last question,
        peace_s: and even then they are left in peace for this long.
        rest_after_gone_s: the same peace after a question that was taken back.
        ping_every_ms: how often the round trip is measured.
        quick_ping_every_ms: the same for the first `quick_pings` of a connection, and when an answer stands out.
        quick_pings: see above; also how many answers the notice waits for.
        stands_out_ms: a round trip this far from the median stands out: is it a spike, or has the line changed?
        median_of_round_trips: how many of the last round trips decide; two that stand out say nothing.
        median_of_responses: how many of Maya's last response times decide.
        usual_response_ms: Maya's response time where none is known yet (SERVICE.md A10: 573 to 1,343 ms, median 920).
        patience_ms: a pause up to this after the learner's last word is the examiner's patience, not lag
            (SERVICE.md A5: the longest pause that Nova Sonic is documented to wait for).
        uplink_window_ms: the delay of speech on its way up is the median of the frames of so long.
        uplink_caught_up_ms: after a drop the phone has caught up when its frames come at most this late.
        uplink_drift_ms_per_s: the least delay ever seen grows by this much, since two clocks never run alike.
        near_round_trip_ms: a round trip that needs no explanation.
        unknown_round_trip_ms: expected where neither the region nor a measurement tells.
        notice_within_ms: the notice is given after this long, whether the round trip has been measured or not.
        away_after_ms: a phone that says nothing at all for so long is away, and that is not lag.
        evaluate_every_ms: how often the felt lag is judged.
    """

    ask_over_ms: float = 2_500.0
    clear_under_ms: float = 1_900.0
    sustain_ms: float = 8_000.0
    dip_ms: float = 2_000.0
    clear_after_ms: float = 6_000.0
    answer_within_s: float = 20.0
    answer_grace_ms: float = 3_000.0
    cool_down_s: float = 120.0
    worse_by_ms: float = 1_500.0
    peace_s: float = 40.0
    rest_after_gone_s: float = 30.0
    ping_every_ms: float = 2_000.0
    quick_ping_every_ms: float = 500.0
    quick_pings: int = 3
    stands_out_ms: float = 250.0
    median_of_round_trips: int = 5
    median_of_responses: int = 3
    usual_response_ms: float = 1_000.0
    patience_ms: float = 2_000.0
    uplink_window_ms: float = 2_000.0
    uplink_caught_up_ms: float = 500.0
    uplink_drift_ms_per_s: float = 1.0
    near_round_trip_ms: float = 150.0
    unknown_round_trip_ms: float = 200.0
    notice_within_ms: float = 6_000.0
    away_after_ms: float = 3_000.0
    evaluate_every_ms: float = 250.0

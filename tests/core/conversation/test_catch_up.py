"""When a phone that sends its buffer again has come to the present."""

import base64

import pytest

from gateway.core.conversation.catch_up import CatchUp

QUIET = base64.b64encode(bytes(3_200)).decode()
LOUD = base64.b64encode(b"\x00\x10\x00\xf0" * 800).decode()
FRAME_MS = 100.0


def after(seqs, *, at_ms: float = 10_000.0, every_ms: float = 1.0) -> tuple[CatchUp, float]:
    """Frames that came, one after the other; return with it when the last one did."""
    catch_up, now_ms = CatchUp(), at_ms
    for seq in seqs:
        catch_up.came(seq, FRAME_MS, (seq + 1) * FRAME_MS, now_ms)
        now_ms += every_ms
    return catch_up, now_ms - every_ms


def test_nothing_has_come():
    """All is still to come."""
    assert CatchUp().is_behind(0.0, -1, 0, 0.0)


@pytest.mark.parametrize(("last", "behind"), [(60, True), (83, True), (85, False), (99, False)])
def test_the_present_is_what_was_captured_a_moment_ago(last, behind):
    """10 s after capture time began; a second and a half is a line and a frame."""
    catch_up, now_ms = after(range(50, last + 1))
    assert catch_up.is_behind(10_000.0, last, 0, now_ms) is behind


def test_sound_at_its_own_pace_is_the_present():
    """Whatever capture time says: an app that was killed knows nothing of the time in between."""
    catch_up, now_ms = after(range(50, 55), every_ms=FRAME_MS)
    assert catch_up.is_behind(20_000.0, 54, 0, now_ms)
    catch_up, now_ms = after(range(50, 57), every_ms=FRAME_MS)
    assert not catch_up.is_behind(20_000.0, 56, 0, now_ms)
    assert catch_up.is_behind(20_000.0, 56, 0, now_ms + 600.0), "and then nothing"


def test_sound_at_three_times_its_pace_is_not():
    """A slow line carries the buffer."""
    catch_up, now_ms = after(range(50, 80), every_ms=FRAME_MS / 3)
    assert catch_up.is_behind(20_000.0, 79, 0, now_ms)


@pytest.mark.parametrize(
    ("missing", "pcm", "behind"), [(3, QUIET, False), (4, QUIET, True), (1, LOUD, True)], ids=["few", "many", "loud"]
)
def test_frames_that_lack_among_quiet_ones_hold_no_speech(missing, pcm, behind):
    """Many may, and so may one before something loud."""
    catch_up, now_ms = after([*range(50, 70), *range(70 + missing, 99)])
    for _ in range(70 + missing, 99):
        catch_up.waits(pcm, FRAME_MS)
    early = 99 - 70 - missing
    assert catch_up.is_behind(10_000.0, 69, early, now_ms) is behind
    catch_up.all_is_in_order()
    assert not catch_up.is_behind(10_000.0, 98, 0, now_ms)


def test_another_buffer_is_caught_up_with_anew():
    """The phone was away once more."""
    catch_up, now_ms = after(range(50, 99))
    catch_up.begin()
    assert catch_up.is_behind(10_000.0, 98, 0, now_ms)

"""History that a new stream is seeded with."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core.nova_events import HistoryTurn, Role, shape_history
from gateway.core.nova_events.history import keep_end

FIRST = "[Joined.]"
USER, MAYA = Role.USER, Role.ASSISTANT


def shape(*turns, **limits):
    """Shape (role, text) pairs and return pairs."""
    shaped = shape_history([HistoryTurn(role, text) for role, text in turns], first_user_line=FIRST, **limits)
    return [(turn.role, turn.text) for turn in shaped]


def test_runs_of_one_role_become_one_message():
    """Roles alternate afterwards, and blank turns leave no trace."""
    turns = [(USER, "a"), (USER, "b"), (MAYA, " "), (USER, "c"), (MAYA, "d"), (MAYA, "e ")]
    assert shape(*turns) == [(USER, "a\nb\nc"), (MAYA, "d\ne")]


def test_a_history_that_begins_with_maya_gets_a_first_line():
    """The service refuses an ASSISTANT message in the first place."""
    assert shape((MAYA, "Hello."), (USER, "Hi.")) == [(USER, FIRST), (MAYA, "Hello."), (USER, "Hi.")]


def test_nothing_said_is_no_history():
    """Without turns there is no first line either."""
    assert shape() == []
    assert shape((MAYA, "  ")) == []


def test_the_oldest_messages_go_first():
    """Over the total, whole messages are dropped from the beginning."""
    turns = [(USER, "u" * 40), (MAYA, "m" * 40), (USER, "w" * 40)]
    assert shape(*turns, max_total_bytes=100) == [(USER, FIRST), (MAYA, "m" * 40), (USER, "w" * 40)]
    assert shape(*turns, max_total_bytes=80) == [(USER, "w" * 40)]


def test_a_long_message_keeps_its_end():
    """Of one message over its limit the newest words stay."""
    assert shape((USER, "old " * 100 + "new"), max_message_bytes=13) == [(USER, "d old old new")]


def test_a_last_message_larger_than_the_total_is_cut_not_lost():
    """Even one huge message leaves its end."""
    assert shape((USER, "x" * 500), max_message_bytes=400, max_total_bytes=50) == [(USER, "x" * (50 - len(FIRST)))]


@pytest.mark.parametrize("role", [Role.SYSTEM, Role.TOOL])
def test_only_the_two_speakers_make_history(role):
    """Other roles are a fault of the caller."""
    with pytest.raises(ValueError, match=role.value):
        shape((role, "x"))


@pytest.mark.parametrize(("first", "limits"), [(" ", {}), ("long", {"max_message_bytes": 3})])
def test_the_first_line_must_be_usable(first, limits):
    """A blank first line, or one over the limits, is refused."""
    with pytest.raises(ValueError, match="first_user_line"):
        shape_history([], first_user_line=first, **limits)


TURNS = st.lists(
    st.tuples(st.sampled_from([USER, MAYA]), st.text(st.sampled_from("ab \n\u00e9漢🎤\ud800"), max_size=40)),
    max_size=12,
)


@settings(deadline=None)
@given(TURNS, st.integers(12, 60), st.integers(20, 120))
def test_every_history_is_one_the_service_accepts(turns, max_message, max_total):
    """For any turns and limits: USER first, roles alternate, limits kept, whole characters, newest words kept."""
    shaped = shape(*turns, max_message_bytes=max_message, max_total_bytes=max_total)
    assert all(before[0] is not after[0] for before, after in pairwise(shaped))
    sizes = [len(text.encode()) for _, text in shaped]
    assert sum(sizes) <= max_total
    assert all(0 < size <= max_message for size in sizes)
    assert all(text.strip() for _, text in shaped)
    spoken = [(role, text.strip()) for role, text in turns if text.strip()]
    assert bool(shaped) is bool(spoken)
    if spoken:
        assert shaped[0][0] is USER
        role, text = spoken[-1]
        mended = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        assert shaped[-1][0] is role
        assert shaped[-1][1][-1] == mended[-1]


@settings(deadline=None)
@given(st.text(st.sampled_from("aé漢🎤")), st.integers(1, 30))
def test_keep_end_keeps_as_much_as_fits(text, max_bytes):
    """The kept end is a suffix, within the limit, and one character more would not fit."""
    kept = keep_end(text, max_bytes)
    assert text.endswith(kept)
    assert len(kept.encode()) <= max_bytes
    assert kept == text or len(text[-len(kept) - 1 :].encode()) > max_bytes


def test_words_stay_out_of_the_representation():
    """What was said does not reach a log by way of repr."""
    assert "secret" not in repr(HistoryTurn(USER, "secret"))

"""The error tree."""

import inspect
from typing import get_args

import pytest

from gateway.core import errors
from gateway.core.errors import Busy, MayaError, PhoneSlow, ProtocolError, RemoteError, TooFast
from gateway.core.messages import Error, ErrorCode

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, MayaError)]
LEAVES = [cls for cls in CLASSES if cls not in (MayaError, ProtocolError, RemoteError)]
PROTOCOL = [cls for cls in LEAVES if issubclass(cls, ProtocolError)]
FATAL = {"module_locked", "session_gone", "busy", "model_unavailable", "internal"}


def make(cls, **fields):
    """An error of a class, whatever else it needs."""
    if cls is Busy:
        return cls(retry_after_s=3, **fields)
    return cls(retry_after_ms=250) if cls is PhoneSlow else cls("what was wrong", **fields)


@pytest.mark.parametrize("cls", [MayaError, ProtocolError, RemoteError])
def test_inner_nodes_cannot_be_raised(cls):
    """What says too little to be acted upon is refused."""
    with pytest.raises(TypeError, match="base class"):
        cls("anything")


def test_the_drawing_shows_the_tree():
    """The module's drawing names each class, under its parent."""
    drawing = [line for line in (errors.__doc__ or "").splitlines() if "+- " in line or line.strip() == "MayaError"]
    path: list[tuple[int, str]] = []
    drawn = {}
    for line in drawing:
        name = line.replace("|", " ").replace("+-", "  ").split()[0]
        depth = line.index(name)
        path = [node for node in path if node[0] < depth]
        drawn[name] = path[-1][1] if path else "Exception"
        path.append((depth, name))
    assert drawn == {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES}


def test_protocol_errors_are_exactly_the_codes_of_the_contract():
    """Each code of maya.v1 has one error, and the fatal ones are those of the contract."""
    assert sorted(cls.code for cls in PROTOCOL) == sorted(get_args(ErrorCode))
    assert {cls.code for cls in PROTOCOL if cls.fatal} == FATAL


@pytest.mark.parametrize("cls", PROTOCOL)
def test_every_protocol_error_becomes_a_message(cls):
    """The app can be told of each, and the message says what the error says."""
    error = make(cls)
    message = Error.of(error, epoch=7)
    assert (message.code, message.retryable, message.fatal) == (cls.code, cls.retryable, cls.fatal)
    assert message.message == str(error)
    assert message.epoch == 7


def test_reference_and_wait_reach_the_message():
    """`ref` and `retry_after_s` go along."""
    assert Error.of(make(errors.BadAudio, ref=12), epoch=1).ref == 12
    assert Error.of(make(errors.BadMessage, ref="start"), epoch=1).ref == "start"
    assert Error.of(make(Busy), epoch=1).retry_after_s == 3


def test_a_long_text_is_cut_to_what_the_message_holds():
    """Whatever the text, the app is told."""
    assert len(Error.of(errors.Internal("x" * 2000), epoch=1).message) == 500


def test_too_fast_becomes_fatal_only_where_it_is_raised_so():
    """One code covers both; the class itself stays as it is."""
    assert TooFast("again and again", fatal=True).fatal
    assert not TooFast("once").fatal
    assert not TooFast.fatal


@pytest.mark.parametrize("cls", LEAVES)
def test_codes_are_names_for_logs(cls):
    """Every error has a code of its own."""
    assert cls.code.replace("_", "").isalpha()
    assert cls.code.islower()
    assert [other.code for other in LEAVES].count(cls.code) == 1
    assert isinstance(make(cls), cls)


def test_a_slow_phone_says_how_long_to_wait():
    """The wait is part of the error."""
    assert PhoneSlow(retry_after_ms=250).retry_after_ms == 250

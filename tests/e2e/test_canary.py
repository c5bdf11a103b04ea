"""No sound and no words of a conversation are kept anywhere (I1): everything that was anywhere is searched for them.

The conversations are those of `talks`: every sample of their microphones is unlike any other, lines drop and break, a
stream fails with the learner's words as its last ones, messages that break the contract carry them, DynamoDB is away. While they
go on, every key of Redis is read again and again and every command to Redis is looked at; what the gateway tells DynamoDB, SQS and Lambda
is kept as it passes. Another mark, which no conversation has, is planted everywhere: the search must find it there.
"""

import base64
import json
import random
from pathlib import Path

import pytest

from gateway.core.messages import AudioUp
from gateway.core.wire import encode, encode_audio_down
from tests.e2e.clouds import eventually
from tests.e2e.marks import Marks
from tests.e2e.places import everywhere, marks_of, queue_url, spoken
from tests.e2e.talks import MARKED, Watched

PLANTED_WORDS = "eleven purple tractors quietly sing old lullabies to the sleeping harbour master tonight"
PLANTED_SOUND = random.Random(8).randbytes(1_500)


@pytest.fixture(scope="module")
def places(watched: Watched) -> list[tuple[str, bytes]]:
    """Everything that could have kept something, by name."""
    return list(everywhere(watched))


@pytest.fixture(scope="module")
def marks(watched: Watched) -> Marks:
    """Every sound and every word of all the conversations."""
    return marks_of(watched)


def test_nothing_of_the_conversations_is_anywhere(marks, places):
    """No sound, and no run of more than eight words, in any dress."""
    found = marks.search(places)
    assert not found, "\n".join(f"{find.dress} in {find.place}: {find.around!r}" for find in found)


def test_the_marks_are_those_of_whole_conversations(watched):
    """What is looked for was really captured, played and shown, in every conversation."""
    assert len(watched.talks) == 9
    for talk in watched.talks.values():
        assert len(talk.caller.captured) > 100_000
        assert len(talk.streams[0].said) > 40_000
        assert any(len(text.split()) > 8 for text in talk.caller.captions("maya"))
        assert any(len(text.split()) > 8 for text in talk.caller.captions("learner"))
    assert any(MARKED in text for text in spoken(watched.talk("hurt")))


def test_redis_was_watched_all_the_time(watched):
    """All keys were read many times, and the keys and commands of the conversations are among what was seen."""
    watch = watched.watch
    assert watch.polls > 200
    for talk in watched.talks.values():
        learner = talk.caller.learner.encode()
        assert {b"lease", b"session", b"epoch"} <= {key.rpartition(b":")[2] for key, _ in watch.keys if learner in key}
        assert any(learner in command for command in watch.commands)


def test_the_tapped_stores_were_told_of_the_conversations(watched):
    """Each save went through the tap of DynamoDB, each relay's invocation through that of Lambda, one through that of SQS."""
    for talk in watched.talks.values():
        assert any(talk.caller.session_id.encode() in told for told in watched.dynamodb.told)
        assert any(talk.caller.learner.encode() in told for told in watched.functions.told)
    assert any(watched.talk("queued").caller.session_id.encode() in told for told in watched.sqs.told)


def test_an_invocation_of_a_relay_holds_ids_only(watched):
    """Its payload is a version and the learner."""
    bodies = [line for told in watched.functions.told for line in told.splitlines() if line.startswith(b"{")]
    learners = {talk.caller.learner for talk in watched.talks.values()}
    payloads = [json.JSONDecoder().raw_decode(body.decode())[0] for body in bodies]
    assert learners <= {payload["learner"] for payload in payloads}
    assert all(payload.keys() == {"version", "learner"} for payload in payloads)


@pytest.mark.parametrize(
    "dress",
    [
        PLANTED_SOUND,
        *(base64.b64encode(bytes(skipped) + PLANTED_SOUND) for skipped in range(3)),
        PLANTED_SOUND.hex().encode(),
        PLANTED_SOUND.hex().upper().encode(),
        repr(PLANTED_SOUND).encode(),
        json.dumps({"pcm": PLANTED_SOUND.decode("latin-1")}).encode(),
        json.dumps(json.dumps({"pcm": base64.b64encode(PLANTED_SOUND).decode()})).replace("/", "\\/").encode(),
        base64.b64encode(json.dumps({"text": f"She said: {PLANTED_WORDS}."}).encode()),
        f"She said: {PLANTED_WORDS.upper()}!".encode().hex().encode(),
        PLANTED_WORDS.replace(" ", "\n\t, ").title().encode(),
        json.dumps(json.dumps(PLANTED_WORDS.split())).encode(),
    ],
    ids=[
        *("raw", "base64 0", "base64 1", "base64 2", "hex", "HEX", "repr", "JSON", "base64 in JSON in JSON"),
        *("words in base64", "words in hex", "words", "words in JSON in JSON"),
    ],
)
def test_the_search_finds_a_mark_in_every_dress(dress):
    """Also when no more than a part of it is there, beside other things."""
    marks = Marks([PLANTED_SOUND], [PLANTED_WORDS, PLANTED_WORDS.upper()])
    noise = random.Random(1).randbytes(997)
    piece = dress[len(dress) // 3 :] if len(dress) > 1_000 else dress
    assert marks.search([("there", noise + piece + noise)])
    assert not marks.search([("not there", noise + dress[:20] + noise)])


def test_the_search_would_find_these_conversations(watched, marks):
    """A frame of each learner's, a piece of Maya's speech and nine words of either, as they travel."""
    for talk in watched.talks.values():
        captured, said = bytes(talk.caller.captured), talk.streams[0].said
        frame = encode(AudioUp(seq=9, t=900.0, pcm=base64.b64encode(captured[32_000:33_600]).decode()))
        piece = encode_audio_down(epoch=1, n=5, turn=1, rate=8000, pcm=base64.b64encode(said[:4_000]).decode())
        texts = [text for text in spoken(talk) if len(text.split()) >= 9]
        assert marks.search([("frame", frame.encode())])
        assert marks.search([("piece", piece.encode())])
        assert all(marks.search([("words", json.dumps(text).encode())]) for text in texts)


def test_the_search_finds_a_mark_in_every_place(watched):
    """Planted in a key of each type, tables, queue, invocation, logs, output and files, it is found in each."""
    cloud, state = watched.cloud, watched.cloud.state
    coded = base64.b64encode(PLANTED_SOUND).decode()
    with cloud.redis() as redis:
        redis.set("planted:string", coded)
        redis.rpush("planted:list", coded)
        redis.sadd("planted:set", PLANTED_WORDS)
        redis.zadd("planted:zset", {PLANTED_WORDS: 1})
        redis.hset("planted:hash", mapping={"pcm": PLANTED_SOUND})
        redis.xadd("planted:stream", {"text": PLANTED_WORDS})
        names = {b"planted:" + kind for kind in (b"string", b"list", b"set", b"zset", b"hash", b"stream")}
        eventually(lambda: names <= {key for key, _ in watched.watch.keys})
        redis.delete(*names)
    planted = {"user_id": {"S": "planted"}, "assessment_id": {"S": "planted"}, "text": {"S": PLANTED_WORDS}}
    cloud.client("dynamodb").put_item(TableName=state.assessments_table, Item=planted)
    cloud.client("dynamodb").put_item(TableName=state.users_table, Item=planted | {"pcm": {"B": PLANTED_SOUND}})
    cloud.client("sqs").send_message(QueueUrl=queue_url(watched), MessageBody=json.dumps({"pcm": coded}))
    cloud.client("lambda").invoke(
        FunctionName="maya-finish", Payload=json.dumps({"Records": [], "text": PLANTED_WORDS})
    )
    for name in ("functions/maya-relay/planted.log", "planted.log", "../tmp/planted"):
        (Path(state.log_dir) / name).write_text(coded)
    (watched.temporary / "planted").write_bytes(PLANTED_SOUND)
    brief = Path(state.log_dir).parent / "tmp" / "planted briefly"
    brief.write_bytes(PLANTED_SOUND)
    eventually(lambda: (brief, PLANTED_SOUND) in watched.watch.files.copy())
    brief.unlink()
    cloud.output.append(PLANTED_WORDS)
    try:
        found = {find.place for find in Marks([PLANTED_SOUND], [PLANTED_WORDS]).search(everywhere(watched))}
    finally:
        cloud.output.pop()
        for file in watched.temporary.rglob("planted*"):
            file.unlink()
    private = Path(state.log_dir).parent
    assert {
        *(f"redis key planted:{kind}" for kind in ("string", "list", "set", "zset", "hash", "stream")),
        "redis commands",
        f"table {state.assessments_table}",
        f"table {state.users_table}",
        "queue maya-finish-dead",
        "told dynamodb",
        "told sqs",
        "told lambda",
        "output of the command",
        *(
            f"file {private / name}"
            for name in ("log/functions/maya-relay/planted.log", "log/planted.log", "tmp/planted")
        ),
        f"file {watched.temporary / 'planted'}",
        f"temporary file {brief}",
    } <= found

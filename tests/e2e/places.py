"""Every place that could have kept something of a conversation, and what must be in none of them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from infra.local.deployment import ROOT
from tests.e2e.marks import Marks
from tests.e2e.talks import MARKED, Talk, Watched


def marks_of(watched: Watched) -> Marks:
    """Every sound and every word of all the conversations that were held."""
    sounds: list[bytes] = []
    texts: list[str] = []
    for talk in watched.talks.values():
        sounds += [bytes(talk.caller.captured), *(stream.said for stream in talk.streams)]
        texts += spoken(talk)
    return Marks(sounds, texts)


def spoken(talk: Talk) -> list[str]:
    """Every text of both sides, as meant, as shown, and as Maya's side knows it."""
    caller = talk.caller
    shown = [message.text for message, _ in caller.shown if hasattr(message, "text")]
    known = [event["content"] for stream in talk.streams for event in stream.events("out", "textOutput")]
    return [*caller.utterances, *shown, *known, " ".join(caller.utterances), MARKED]


def everywhere(watched: Watched) -> Iterator[tuple[str, bytes]]:
    """Every place that could have kept something, with all that is there or was there."""
    cloud, state, watch = watched.cloud, watched.cloud.state, watched.watch
    for key, value in watch.keys.copy():
        yield f"redis key {key.decode()}", key + b"\n" + value
    yield "redis commands", b"\n".join(watch.commands.copy())
    for log in watch.logs():
        yield "redis logs", log
    for table in (state.assessments_table, state.users_table):
        for item in cloud.client("dynamodb").get_paginator("scan").paginate(TableName=table).search("Items[]"):
            yield f"table {table}", repr(item).encode()
    for name in ("maya-finish", "maya-finish-dead"):
        for message in messages_in(watched, name):
            yield f"queue {name}", message.encode()
    for name, tap in (("dynamodb", watched.dynamodb), ("sqs", watched.sqs), ("lambda", watched.functions)):
        for told in tap.told:
            yield f"told {name}", told
    yield "output of the command", "".join([*cloud.output, unread(cloud.process.stdout)]).encode()
    for file, content in watch.files.copy():
        yield f"temporary file {file}", bytes(file) + b"\n" + content
    for core in cores():
        yield f"core dump {core}", core.read_bytes()
    # Logs of all functions and parts, whatever else is in the cloud's private folder, and temporary files.
    for file in watched.temporary.parent.rglob("*"):
        if file.is_file():
            yield f"file {file}", bytes(file) + b"\n" + file.read_bytes()


def cores() -> list[Path]:
    """Memory of processes that died, where Linux writes it: beside the program that ran (core(5))."""
    return [file for file in ROOT.iterdir() if file.name == "core" or file.name.startswith("core.")]


def messages_in(watched: Watched, name: str) -> list[str]:
    """The messages of a queue, left where they are."""
    sqs = watched.cloud.client("sqs")
    url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
    answer = sqs.receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageSystemAttributeNames=["All"]
    )
    return [json.dumps(message) for message in answer.get("Messages", [])]


def queue_url(watched: Watched) -> str:
    """The queue that nobody empties."""
    return str(watched.cloud.client("sqs").get_queue_url(QueueName="maya-finish-dead")["QueueUrl"])


def unread(pipe: object) -> str:
    """What a process has written since the last look."""
    assert hasattr(pipe, "fileno")
    os.set_blocking(pipe.fileno(), False)
    try:
        return os.read(pipe.fileno(), 1 << 20).decode(errors="replace")
    except BlockingIOError:
        return ""

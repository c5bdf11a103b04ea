"""The state file: where a running local cloud is found by other programs."""

import contextlib
import dataclasses
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self


class StateUnreadableError(Exception):
    """The state file is missing, or was not written by this version of the local cloud."""


@dataclass(frozen=True, slots=True)
class State:
    """Addresses and names of a running local cloud, as the state file holds them.

    Attributes:
        websocket_url: where phones connect, with the stage.
        connections_url: endpoint of the API Gateway management API, with the stage.
        redis_url: Redis as an operator sees it: all commands, all keys. The functions have users of their own.
        dynamodb_url: endpoint of DynamoDB.
        sqs_url: endpoint of SQS.
        finish_queue_url: the queue of assessments that could not be saved.
        lambda_url: endpoint of the Lambda service.
        lambda_control_url: what the local Lambda service was asked to do, and its faults.
        bedrock_url: endpoint of Amazon Bedrock's runtime.
        ca_bundle: what to trust when connecting to ``bedrock_url``; empty when that is somebody else's.
        nova_control_url: what the Nova Sonic stand-in heard and said, and its faults; empty when it is not ours.
        token_issuer: ``iss`` of accepted tokens.
        token_audience: ``client_id`` of accepted tokens.
        jwks_url: the issuer's keys.
        token_key_file: the issuer's private key; empty when the issuer is somebody else's.
        region: the Region of every client.
        users_table: name of the table of learners.
        assessments_table: name of the table of assessments.
        plan: the exam plan, ``full``, ``demo`` or ``tiny``.
        voice: how Maya's stand-in speaks, ``human`` or ``plain``; empty when it is not ours.
        voice_note: why the voice is plain although a human one was wanted; empty otherwise.
        lines: how many conversations may go on at once.
        log_dir: one log file for each part.
        mark: value of ``MAYA_LOCAL_CLOUD`` in the environment of all its processes.
        supervisor_pid: the process that runs it; SIGTERM ends all.
        pids: process id by part, of those that were started here.
    """

    websocket_url: str
    connections_url: str
    redis_url: str
    dynamodb_url: str
    sqs_url: str
    finish_queue_url: str
    lambda_url: str
    lambda_control_url: str
    bedrock_url: str
    ca_bundle: str
    nova_control_url: str
    token_issuer: str
    token_audience: str
    jwks_url: str
    token_key_file: str
    region: str
    users_table: str
    assessments_table: str
    plan: str
    voice: str
    voice_note: str
    lines: int
    log_dir: str
    mark: str
    supervisor_pid: int
    pids: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a state file.

        Raises:
            StateUnreadableError: it is missing or is not a state file; the text says which.
        """
        try:
            content: Any = json.loads(path.read_text())
            return cls(**content)
        except FileNotFoundError:
            raise StateUnreadableError(
                f"{path} does not exist: is the local cloud running with --state {path}?"
            ) from None
        except OSError as error:
            raise StateUnreadableError(f"{path} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError):
            raise StateUnreadableError(f"{path} is not the state file of a local cloud of this version") from None

    def write(self, path: Path) -> None:
        """Write the file whole, so that a reader finds all of it or none.

        Raises:
            OSError: it cannot be written.
        """
        write_atomically(path, json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    def remove(self, path: Path) -> None:
        """Remove the file, unless another local cloud has written it since."""
        with contextlib.suppress(StateUnreadableError, FileNotFoundError):
            if State.read(path).mark == self.mark:
                path.unlink()


def write_atomically(path: Path, text: str) -> None:
    """Write a file under another name beside it, readable by its owner alone, and give it its name when it is whole.

    Raises:
        OSError: it cannot be written; the old file, if any, is as before.
    """
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "w") as file:
            file.write(text)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise

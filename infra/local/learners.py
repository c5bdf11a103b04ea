"""Learners of a running local cloud: their tokens and the modules they have unlocked."""

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path

from infra.local import aws, tokens
from infra.local.state import State

# Ids that the authorizer lets through.
_LEARNER = re.compile(r"[A-Za-z0-9_.:@-]{1,128}")


class LearnerError(Exception):
    """A token cannot be given; the text says why."""


def unlock(state: State, learner: str, modules: Sequence[str]) -> None:
    """Add modules to the learner's item in the table of learners, which is made when it is missing.

    Raises:
        botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError: DynamoDB does not answer, or refuses.
    """
    dynamodb = aws.client("dynamodb", state.dynamodb_url, state.region)
    key = {"user_id": {"S": learner}}
    if modules:
        dynamodb.update_item(
            TableName=state.users_table,
            Key=key,
            UpdateExpression="ADD unlocked_modules :modules",
            ExpressionAttributeValues={":modules": {"SS": sorted(set(modules))}},
        )
        return
    with contextlib.suppress(dynamodb.exceptions.ConditionalCheckFailedException):
        dynamodb.put_item(TableName=state.users_table, Item=key, ConditionExpression="attribute_not_exists(user_id)")


def token(state: State, learner: str, *, expires_s: float = 3600.0) -> str:
    """Return a token for ``learner`` that the running gateway accepts for ``expires_s`` seconds.

    Raises:
        LearnerError: the id is not one that the gateway lets through, or the token issuer is somebody else's.
    """
    if not _LEARNER.fullmatch(learner):
        raise LearnerError("a learner's id is 1 to 128 of the characters A-Z a-z 0-9 _ . : @ -")
    if not state.token_key_file:
        raise LearnerError(f"tokens are issued by {state.token_issuer} (MAYA_TOKEN_ISSUER): ask it for one")
    key = tokens.load_key(Path(state.token_key_file))
    return tokens.mint(
        key, issuer=state.token_issuer, learner=learner, expires_s=expires_s, audience=state.token_audience
    )

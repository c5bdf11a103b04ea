"""Learners' profiles and written assessments in DynamoDB.

``IELTSUsers`` (key ``user_id``) has ``unlocked_modules`` and the learner's last ``assessment`` with its ``assessment_epoch``;
``IELTSAssessments`` (keys ``user_id``, ``assessment_id`` = the session's id) has every assessment as an item of its own, since
global tables settle conflicts by item and the last writer wins.

A save is one transaction. Each of its two writes has a condition, so that saves may come twice, late, and from a relay that
has been replaced: the assessment item gives way only while it is partial and not to a lower epoch, the profile not to a lower
epoch.
"""

import functools
import hashlib
import json
import random
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from gateway.adapters.aws_calls import client, error_code, remote_errors
from gateway.core.errors import SaveFailed
from gateway.settings import TableSettings

if TYPE_CHECKING:
    from types_boto3_dynamodb.client import DynamoDBClient

    from gateway.core.assessment import Assessment

SPEAKING_MODULES: Final = frozenset({"academic_speaking", "general_speaking"})
"""The modules in which a learner speaks with Maya; named here so that `handlers.connect` imports no message models."""

_CONFLICT_TRIES: Final = 4
_FIRST_WAIT_S: Final = 0.1

_ITEM_CONDITION: Final = "attribute_not_exists(assessment_id) OR (epoch <= :epoch AND #status = :partial)"
_PROFILE_CONDITION: Final = "attribute_not_exists(assessment_epoch) OR assessment_epoch <= :epoch"


class Saved(Enum):
    """What a save came to; in each case nothing is left to do."""

    SAVED = "saved"
    """The assessment is stored, and is the learner's last one unless a newer one was."""

    UNCHANGED = "unchanged"
    """The same assessment had been stored before."""

    OUTDATED = "outdated"
    """A complete assessment of this session, or one of a higher epoch, is stored and stays."""

    DELAYED = "delayed"
    """The tables are away, and the finish queue has it until they are back."""


class Assessments:
    """The two tables.

    Args:
        tables: their names.
        wait: sleeps for so many seconds between tries of a transaction that met another one.
    """

    def __init__(self, tables: TableSettings, *, wait: Callable[[float], None] = time.sleep) -> None:
        self._tables = tables
        self._wait = wait

    def save(self, learner: str, assessment: "Assessment") -> Saved:
        """Store an assessment as an item of its own and as the learner's last one.

        Raises:
            RemoteError: it is not stored; the same save may be tried again, also from elsewhere.
        """
        document = assessment.model_dump(mode="json")
        put = self._put(learner, document)
        update = self._update(learner, document)
        for attempt in range(_CONFLICT_TRIES):
            if attempt:
                self._wait(random.uniform(0.5, 1.0) * _FIRST_WAIT_S * 2**attempt)  # noqa: S311 - jitter
            failed = self._transact([{"Put": put}, {"Update": update}])
            if not any(failed):
                return Saved.SAVED
            if failed[0] == "ConditionalCheckFailed":
                return self._kept(learner, assessment)
            if failed[1] == "ConditionalCheckFailed" and not failed[0]:
                return self._save_item_alone(learner, assessment, put)
        raise SaveFailed("dynamodb: other transactions were in the way")

    def get(self, learner: str, session_id: str) -> "Assessment | None":
        """Return the stored assessment of a learner's session, None if there is none.

        Raises:
            RemoteError: it cannot be read.
            SaveFailed: what is stored is no assessment.
        """
        # Imported here: the message models take a quarter second, which `handlers.connect` does not need.
        from gateway.core.assessment import Assessment  # noqa: PLC0415

        key = {"user_id": learner, "assessment_id": session_id}
        item = self._get(self._tables.assessments, key)
        if item is None:
            return None
        document = {name: value for name, value in item.items() if name not in key}
        try:
            return Assessment.model_validate(document)
        except ValueError:
            pass
        raise SaveFailed("dynamodb: the stored item is no assessment")

    def module_unlocked(self, learner: str, module: str) -> bool:
        """Whether the learner may take this module; raises `RemoteError`."""
        return module in self._unlocked(learner)

    def any_speaking_module(self, learner: str) -> bool:
        """Whether the learner may take any module in which Maya speaks; raises `RemoteError`."""
        return not SPEAKING_MODULES.isdisjoint(self._unlocked(learner))

    def _unlocked(self, learner: str) -> set[str]:
        profile = self._get(self._tables.users, {"user_id": learner}, "unlocked_modules")
        modules = (profile or {}).get("unlocked_modules")
        return {name for name in modules if isinstance(name, str)} if isinstance(modules, (set, list)) else set()

    def _get(self, table: str, key: Mapping[str, str], *attributes: str) -> dict[str, Any] | None:
        projection: dict[str, Any] = {"ProjectionExpression": ", ".join(attributes)} if attributes else {}
        with remote_errors("dynamodb"):
            answer = self._dynamodb.get_item(TableName=table, Key=_item(key), ConsistentRead=True, **projection)
        item = answer.get("Item")
        return None if item is None else {name: _read(value) for name, value in item.items()}

    def _put(self, learner: str, document: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "TableName": self._tables.assessments,
            "Item": _item({"user_id": learner, "assessment_id": document["session_id"], **document}),
            "ConditionExpression": _ITEM_CONDITION,
            "ExpressionAttributeNames": {"#status": "status"},
            "ExpressionAttributeValues": _item({":epoch": document["epoch"], ":partial": "partial"}),
        }

    def _update(self, learner: str, document: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "TableName": self._tables.users,
            "Key": _item({"user_id": learner}),
            "UpdateExpression": "SET assessment = :assessment, assessment_epoch = :epoch",
            "ConditionExpression": _PROFILE_CONDITION,
            "ExpressionAttributeValues": _item({":assessment": document, ":epoch": document["epoch"]}),
        }

    def _transact(self, writes: list[dict[str, Any]]) -> list[str]:
        """Run a transaction; return for each write why it failed, an empty text where it did not."""
        with remote_errors("dynamodb"):
            try:
                # The SDK's retries of a call that was carried out, unheard, do nothing: they carry the same token.
                self._dynamodb.transact_write_items(
                    TransactItems=writes,  # type: ignore[arg-type] # built above as the service takes them
                    ClientRequestToken=_token(writes),
                )
            except ClientError as error:
                if error_code(error) != "TransactionCanceledException":
                    raise
                reasons = error.response.get("CancellationReasons", [])
                codes = [reason.get("Code", "None") for reason in reasons] or ["Unknown"] * len(writes)
                return ["" if code == "None" else code for code in codes]
        return [""] * len(writes)

    def _save_item_alone(self, learner: str, assessment: "Assessment", put: Mapping[str, Any]) -> Saved:
        """Keep the assessment of a learner whose profile has a newer one already."""
        with remote_errors("dynamodb"):
            try:
                self._dynamodb.put_item(**put)
            except ClientError as error:
                if error_code(error) != "ConditionalCheckFailedException":
                    raise
            else:
                return Saved.SAVED
        return self._kept(learner, assessment)

    def _kept(self, learner: str, assessment: "Assessment") -> Saved:
        return Saved.UNCHANGED if self.get(learner, assessment.session_id) == assessment else Saved.OUTDATED

    @functools.cached_property
    def _dynamodb(self) -> "DynamoDBClient":
        made: DynamoDBClient = client("dynamodb", connect_timeout_s=1.0, read_timeout_s=3.0, attempts=4)
        return made


_SERIALIZER: Final = TypeSerializer()
_DESERIALIZER: Final = TypeDeserializer()


def _item(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _SERIALIZER.serialize(_exact(value)) for name, value in values.items()}


def _exact(value: Any) -> Any:
    """Return a JSON value with its floats as decimals of the same digits, which is all that DynamoDB takes."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, Mapping):
        return {name: _exact(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_exact(item) for item in value]
    return value


def _read(attribute: Any) -> Any:
    return _plain(_DESERIALIZER.deserialize(attribute))


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _token(writes: list[dict[str, Any]]) -> str:
    """Return the transaction's idempotency token: the same writes have the same one, in any process."""
    return hashlib.sha256(json.dumps(writes, sort_keys=True).encode()).hexdigest()[:36]

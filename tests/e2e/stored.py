"""What the tables hold of a learner."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from gateway.core.assessment import Assessment
from tests.e2e.callers import Caller
from tests.e2e.clouds import Cloud


def stored_items(cloud: Cloud, learner: str) -> list[dict[str, Any]]:
    """The learner's items in the table of assessments."""
    answer = cloud.client("dynamodb").query(
        TableName=cloud.state.assessments_table,
        KeyConditionExpression="user_id = :learner",
        ExpressionAttributeValues={":learner": {"S": learner}},
        ConsistentRead=True,
    )
    return [_read(item) for item in answer["Items"]]


def stored_profile(cloud: Cloud, learner: str) -> dict[str, Any]:
    """The learner's item in the table of learners."""
    answer = cloud.client("dynamodb").get_item(
        TableName=cloud.state.users_table, Key={"user_id": {"S": learner}}, ConsistentRead=True
    )
    return _read(answer["Item"])


def check_stored(cloud: Cloud, caller: Caller) -> Assessment:
    """One item holds the caller's assessment, valid, and the profile has the same."""
    [item] = stored_items(cloud, caller.learner)
    assert (item.pop("user_id"), item.pop("assessment_id")) == (caller.learner, caller.session_id)
    profile = stored_profile(cloud, caller.learner)
    assert profile["assessment"] == item
    assert profile["assessment_epoch"] == item["epoch"]
    assert profile["unlocked_modules"] == {caller.habits.module}
    return Assessment.model_validate(item)


def _read(item: Mapping[str, Any]) -> dict[str, Any]:
    read = TypeDeserializer().deserialize
    return {name: _plain(read(value)) for name, value in item.items()}


def _plain(value: Any) -> Any:
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case _:
            return value

"""DynamoDB, queues and Cognito: what is kept, kept well."""

from collections.abc import Iterator
from typing import Final

from infra.checks.template import Finding, Resource, Template, as_list, text_of

REGION: Final = "us-east-1"
_LEAST_RETENTION_S: Final = 14 * 24 * 3600
_UNPROTECTED_STAGES: Final = frozenset({"dev"})


def check(template: Template) -> Iterator[Finding]:
    """Yield what is wrong with the stores."""
    tables = list(template.of_type("DynamoDB::GlobalTable"))
    if len(tables) != 2:
        yield Finding("Users", "there must be two global tables: profiles and assessments")
    for table in tables:
        yield from _table(template, table)
    for other in template.of_type("DynamoDB::Table"):
        yield Finding(other.name, "must be a global table")
    for queue in template.of_type("SQS::Queue"):
        yield from _queue(template, queue)
    for pool in template.of_type("Cognito::UserPool"):
        if pool.document.get("DeletionPolicy") != "Retain":
            yield Finding(pool.name, "must outlive the stack: DeletionPolicy Retain")
    yield from _app_clients(template)


def _app_clients(template: Template) -> Iterator[Finding]:
    for client in template.of_type("Cognito::UserPoolClient"):
        flows = set(as_list(client.properties.get("ExplicitAuthFlows")))
        if flows & {"ALLOW_USER_PASSWORD_AUTH", "USER_PASSWORD_AUTH"}:
            yield Finding(client.name, "passwords must not be sent as they are")
        if template.stage == "prod" and "ALLOW_ADMIN_USER_PASSWORD_AUTH" in flows:
            yield Finding(client.name, "operators must not sign in as learners")
        if client.properties.get("GenerateSecret"):
            yield Finding(client.name, "an app can keep no secret")


def _table(template: Template, table: Resource) -> Iterator[Finding]:
    properties = table.properties
    replicas = properties.get("Replicas") or []
    regions = [replica.get("Region") for replica in replicas]
    if REGION not in regions:
        yield Finding(table.name, f"{REGION}, where the stack is, must be among the replicas")
    if len(set(regions)) != len(regions):
        yield Finding(table.name, "a region is there twice")
    if properties.get("StreamSpecification", {}).get("StreamViewType") != "NEW_AND_OLD_IMAGES":
        yield Finding(table.name, "replication needs StreamSpecification NEW_AND_OLD_IMAGES")
    yield from _attributes(table)
    if properties.get("SSESpecification") != {"SSEEnabled": True, "SSEType": "KMS"}:
        yield Finding(table.name, "must be encrypted with KMS")
    for name in ("DeletionPolicy", "UpdateReplacePolicy"):
        if table.document.get(name) != "Retain":
            yield Finding(table.name, f"must outlive the stack: {name} Retain")
    for replica in replicas:
        where = f"in {replica.get('Region')}"
        if replica.get("PointInTimeRecoverySpecification", {}).get("PointInTimeRecoveryEnabled") is not True:
            yield Finding(table.name, f"has no point-in-time recovery {where}")
        if template.stage not in _UNPROTECTED_STAGES and replica.get("DeletionProtectionEnabled") is not True:
            yield Finding(table.name, f"can be deleted {where}")


def _attributes(table: Resource) -> Iterator[Finding]:
    properties = table.properties
    declared = {item["AttributeName"] for item in properties.get("AttributeDefinitions", [])}
    used = {key["AttributeName"] for key in properties.get("KeySchema", [])}
    for kind in ("GlobalSecondaryIndexes", "LocalSecondaryIndexes"):
        for index in properties.get(kind, []):
            used |= {key["AttributeName"] for key in index["KeySchema"]}
    for name in sorted(declared ^ used):
        yield Finding(
            table.name,
            f"attribute {name} is {'declared and in no key' if name in declared else 'in a key and not declared'}",
        )


def _queue(template: Template, queue: Resource) -> Iterator[Finding]:
    if int(queue.properties.get("MessageRetentionPeriod", 0)) < _LEAST_RETENTION_S:
        yield Finding(queue.name, "must keep messages for 14 days")
    if not queue.properties.get("SqsManagedSseEnabled") and not queue.properties.get("KmsMasterKeyId"):
        yield Finding(queue.name, "must be encrypted")
    for mapping in template.of_type("Lambda::EventSourceMapping"):
        function = template.named(mapping.properties.get("FunctionName"))
        if template.named(mapping.properties.get("EventSourceArn")) != queue or function is None:
            continue
        if int(queue.properties.get("VisibilityTimeout", 30)) < 6 * int(function.properties.get("Timeout", 3)):
            yield Finding(queue.name, "must hide messages for six times the function's time-out")
        if "ReportBatchItemFailures" not in as_list(mapping.properties.get("FunctionResponseTypes")):
            yield Finding(mapping.name, "one bad message would hold back its whole batch")
        if not text_of(queue.properties.get("RedrivePolicy", {}).get("deadLetterTargetArn")):
            yield Finding(queue.name, "needs a queue for messages that fail for good")

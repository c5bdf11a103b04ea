"""Which parts are somebody else's, and whether they can be used.

An address in a standard variable (``REDIS_URL``, ``AWS_ENDPOINT_URL_DYNAMODB`` and so on) means that this part runs
already: it is used and none is started.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from infra.local import aws

# What a part is called to a person -> the variable that says it is somebody else's, in the order of Outside's fields.
VARIABLES: Mapping[str, str] = {
    "Redis": "REDIS_URL",
    "DynamoDB": "AWS_ENDPOINT_URL_DYNAMODB",
    "SQS": "AWS_ENDPOINT_URL_SQS",
    "Amazon Bedrock": "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
    "Lambda": "AWS_ENDPOINT_URL_LAMBDA",
    "@connections": "AWS_ENDPOINT_URL_APIGATEWAYMANAGEMENTAPI",
    "certificate authority": "AWS_CA_BUNDLE",
    "token issuer": "MAYA_TOKEN_ISSUER",
}


class OutsideError(Exception):
    """A part that is somebody else's cannot be used; the text names the part, its variable and what is wrong."""


@dataclass(frozen=True, slots=True)
class Outside:
    """Addresses that the environment gives; an empty one belongs to a part that is started here."""

    redis_url: str
    dynamodb_url: str
    sqs_url: str
    bedrock_url: str
    lambda_url: str
    connections_url: str
    ca_bundle: str
    token_issuer: str

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Outside":
        """Read the addresses from an environment."""
        return cls(*(environment.get(variable, "") for variable in VARIABLES.values()))

    @property
    def aws_urls(self) -> tuple[str, ...]:
        """Addresses of the AWS services that are somebody else's."""
        services = (self.dynamodb_url, self.sqs_url, self.bedrock_url, self.lambda_url, self.connections_url)
        return tuple(url for url in services if url)


def check_redis(url: str) -> None:
    """See whether somebody else's Redis answers.

    Raises:
        OutsideError: it does not.
    """
    # Imported here: it takes 0.3 s and is needed only where Redis is somebody else's.
    import redis  # noqa: PLC0415

    try:
        with redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as connection:
            connection.ping()
    except (redis.RedisError, ValueError) as error:
        raise OutsideError(f"Redis (REDIS_URL) cannot be used: {error}") from None


def use_tables(url: str, names: aws.Names) -> None:
    """Make the missing tables in somebody else's DynamoDB when it is on this machine; anywhere else they must exist.

    Raises:
        OutsideError: it cannot be used, or a table is missing.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  # as in aws.client

    try:
        dynamodb = aws.client("dynamodb", url, names.region)
        if _on_this_machine(url):
            aws.prepare_tables(dynamodb, names)
        for table in (names.users_table, names.assessments_table):
            dynamodb.describe_table(TableName=table)
    except (BotoCoreError, ClientError, ValueError) as error:
        raise OutsideError(f"DynamoDB at {url} (AWS_ENDPOINT_URL_DYNAMODB) cannot be used: {error}") from None


def use_queue(url: str, names: aws.Names, finish_queue_url: str) -> aws.FinishQueue:
    """Find the finish queue in somebody else's SQS, made if it is missing and the service is on this machine.

    Args:
        url: the service.
        names: for the Region.
        finish_queue_url: the queue, where the environment names it.

    Raises:
        OutsideError: the service cannot be used, or the queue is missing.
    """
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415  # as in aws.client

    try:
        sqs = aws.client("sqs", url, names.region)
        if finish_queue_url:
            queue_url = finish_queue_url
        elif _on_this_machine(url):
            queue_url = aws.prepare_queues(sqs)
        else:
            queue_url = sqs.get_queue_url(QueueName=aws.FINISH_QUEUE)["QueueUrl"]
        return aws.FinishQueue(queue_url, aws.queue_arn(sqs, queue_url))
    except (BotoCoreError, ClientError, ValueError) as error:
        raise OutsideError(f"SQS at {url} (AWS_ENDPOINT_URL_SQS) cannot be used: {error}") from None


def _on_this_machine(url: str) -> bool:
    return urlsplit(url).hostname in {"127.0.0.1", "localhost", "::1"}

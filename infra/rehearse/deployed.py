"""What was deployed, as ministack's own APIs tell it, made into the configuration of our API Gateway and Lambda."""

import base64
import hashlib
import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.request import urlopen

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.local.cloud_config import (
    ApiConfig,
    AuthorizerConfig,
    CloudConfig,
    EventSourceConfig,
    FunctionConfig,
)
from infra.rehearse.osls import KEY, STAGE

_REGION: Final = "us-east-1"
_CODE_WITHIN_S: Final = 30
_ADDRESSES: Final = "AWS_ENDPOINT_URL"


class NotDeployedError(Exception):
    """Something is not as the template says; the text says what."""


class Deployed:
    """The deployed stage.

    Args:
        endpoint: of ministack.
        template: as it was deployed.
    """

    def __init__(self, endpoint: str, template: Mapping[str, Any]) -> None:
        self.endpoint = endpoint
        self._template = template

    def client(self, service: str) -> Any:
        """Return a boto3 client of ministack."""
        return boto3.client(
            service,  # type: ignore[call-overload] # an overload for each service
            endpoint_url=self.endpoint,
            region_name=_REGION,
            aws_access_key_id=KEY,
            aws_secret_access_key=KEY,
            config=Config(proxies={}, retries={"mode": "standard"}),
        )

    def stack_status(self) -> str:
        """Return CloudFormation's word for the stack, empty if there is none."""
        stacks = self.client("cloudformation").describe_stacks()["Stacks"]
        live = [stack for stack in stacks if stack["StackName"] == f"maya-{STAGE}"]
        status = live[0]["StackStatus"] if live else ""
        return "" if status == "DELETE_COMPLETE" else str(status)

    def variables(self, name: str) -> dict[str, str]:
        """Return the environment variables of a function."""
        found = self.client("lambda").get_function_configuration(FunctionName=f"maya-{STAGE}-{name}")
        variables: dict[str, str] = found["Environment"]["Variables"]
        return variables

    def saved(self, learner: str) -> list[dict[str, Any]]:
        """Return the learner's assessments."""
        items: list[dict[str, Any]] = self.client("dynamodb").query(
            TableName=self.variables("relay")["MAYA_ASSESSMENTS_TABLE"],
            KeyConditionExpression="user_id = :learner",
            ExpressionAttributeValues={":learner": {"S": learner}},
        )["Items"]
        return items

    def unsaved(self) -> int:
        """Return how many messages wait in the finish queue."""
        url = self.variables("relay")["MAYA_FINISH_QUEUE_URL"]
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(answer[name]) for name in names)

    def cloud_config(self, *, code: Path, log_dir: Path, bedrock_url: str, ca_bundle: str) -> CloudConfig:
        """Return the configuration of our API Gateway and Lambda for what was deployed.

        Args:
            code: where the functions' code is put.
            log_dir: where their logs go.
            bedrock_url: of Nova Sonic's stand-in.
            ca_bundle: its authority.

        Raises:
            NotDeployedError: something is missing.
        """
        functions = self.client("lambda").list_functions()["Functions"]
        pool = self.variables("authorize")["MAYA_TOKEN_ISSUER"].rpartition("/")[2]
        addresses = {
            "AWS_ENDPOINT_URL_DYNAMODB": self.endpoint,
            "AWS_ENDPOINT_URL_SQS": self.endpoint,
            "AWS_ENDPOINT_URL_BEDROCK": self.endpoint,
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": bedrock_url,
            "AWS_CA_BUNDLE": ca_bundle,
            "AWS_REGION": _REGION,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": KEY,
            "MAYA_JWKS_URL": f"{self.endpoint}/{pool}/.well-known/jwks.json",
            "NO_PROXY": "127.0.0.1,localhost",
        }
        return CloudConfig(
            functions=tuple(self._function(function, code) for function in functions),
            log_dir=str(log_dir),
            api=self._api(),
            event_sources=tuple(self._event_sources()),
            env=addresses,
            region=_REGION,
        )

    def _function(self, described: Mapping[str, Any], code: Path) -> FunctionConfig:
        name = described["FunctionName"]
        settings = self._asynchronous(described["Handler"].split(".")[1])
        return FunctionConfig(
            name=name,
            handler=described["Handler"],
            root=str(self._code(name, code)),
            # The address of an AWS service is what a rehearsal cannot have.
            env={
                **{key: value for key, value in described["Environment"]["Variables"].items() if _ADDRESSES not in key},
                **self._credentials(described["Role"]),
            },
            timeout_s=described["Timeout"],
            memory_mb=described["MemorySize"],
            alone=True,
            **settings,
        )

    def _credentials(self, role: str) -> dict[str, str]:
        """Return credentials of a function's own role, as Lambda gives them: it may do what the role says and no more."""
        given = self.client("sts").assume_role(RoleArn=role, RoleSessionName="function")["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
        }

    def refused(self, name: str, call: Callable[[Any], object]) -> bool:
        """Whether a function's role is refused a call of DynamoDB."""
        found = self.client("lambda").get_function_configuration(FunctionName=f"maya-{STAGE}-{name}")
        credentials = self._credentials(found["Role"])
        dynamodb = boto3.client(
            "dynamodb",
            endpoint_url=self.endpoint,
            region_name=_REGION,
            aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=credentials["AWS_SESSION_TOKEN"],
        )
        try:
            call(dynamodb)
        except ClientError as error:
            return bool(error.response["Error"]["Code"] == "AccessDeniedException")
        return False

    def _asynchronous(self, name: str) -> dict[str, Any]:
        """Return what ministack does not keep of a function, from the template."""
        resources = self._template["Resources"]
        logical = f"{name.capitalize()}LambdaFunction"
        settings: dict[str, Any] = {
            "reserved_concurrency": resources[logical]["Properties"].get("ReservedConcurrentExecutions")
        }
        for item in resources.values():
            properties = item.get("Properties", {})
            if item["Type"] == "AWS::Lambda::EventInvokeConfig" and properties["FunctionName"] == {"Ref": logical}:
                settings["retries"] = properties["MaximumRetryAttempts"]
                settings["max_event_age_s"] = float(properties["MaximumEventAgeInSeconds"])
                settings["on_failure_queue_arn"] = self._queue_arn()
        return settings

    def _queue_arn(self) -> str:
        return f"arn:aws:sqs:{_REGION}:000000000000:maya-{STAGE}-finish"

    def _code(self, name: str, folder: Path) -> Path:
        """Download and unpack a function's code, as it was uploaded."""
        found = self.client("lambda").get_function(FunctionName=name)
        with urlopen(found["Code"]["Location"], timeout=_CODE_WITHIN_S) as answer:  # noqa: S310 - ministack's own
            archive = answer.read()
        digest = base64.b64encode(hashlib.sha256(archive).digest()).decode()
        if digest != found["Configuration"]["CodeSha256"]:
            raise NotDeployedError(f"{name}: its code is not what was uploaded")
        target = folder / name
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            opened.extractall(target)
        return target

    def _api(self) -> ApiConfig:
        gateway = self.client("apigatewayv2")
        apis = [api for api in gateway.get_apis()["Items"] if api["Name"] == f"maya-{STAGE}"]
        if len(apis) != 1:
            raise NotDeployedError(f"there are {len(apis)} APIs, and should be one")
        api_id = apis[0]["ApiId"]
        integrations = {
            f"integrations/{item['IntegrationId']}": _function_in(item["IntegrationUri"])
            for item in gateway.get_integrations(ApiId=api_id)["Items"]
        }
        routes = gateway.get_routes(ApiId=api_id)["Items"]
        authorizers = {item["AuthorizerId"]: item for item in gateway.get_authorizers(ApiId=api_id)["Items"]}
        connect = next(route for route in routes if route["RouteKey"] == "$connect")
        authorizer = authorizers[connect["AuthorizerId"]]
        return ApiConfig(
            routes={route["RouteKey"]: integrations[route["Target"]] for route in routes},
            route_selection_expression=apis[0]["RouteSelectionExpression"],
            authorizer=AuthorizerConfig(
                function=_function_in(authorizer["AuthorizerUri"]),
                identity_sources=tuple(authorizer["IdentitySource"]),
            ),
            api_id=api_id,
            stage=gateway.get_stages(ApiId=api_id)["Items"][0]["StageName"],
        )

    def _event_sources(self) -> list[EventSourceConfig]:
        return [
            EventSourceConfig(
                queue_arn=mapping["EventSourceArn"],
                function=mapping["FunctionArn"].rpartition(":")[2],
                batch_size=mapping["BatchSize"],
                report_batch_item_failures="ReportBatchItemFailures" in mapping.get("FunctionResponseTypes", []),
            )
            for mapping in self.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        ]


def _function_in(uri: str) -> str:
    """Return the name of the function in an integration's or authorizer's address."""
    return uri.partition(":function:")[2].partition("/")[0]

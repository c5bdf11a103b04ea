"""``python -m infra.deploy.learner --stage STAGE --learner NAME``: a token of the deployed user pool, for tests and load tests.

The learner is made if there is none, with a password that nobody learns, and has a speaking module unlocked. It takes the operator's
own credentials, and a stage whose app client lets administrators sign learners in (the parameter ``testLearners``): not prod.
"""

import argparse
import secrets
import sys
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra.deploy.preflight import REGION

_MODULE: Final = "academic_speaking"
_DOMAIN: Final = "example.com"
_THERE: Final = "UsernameExistsException"


class Enrolled(NamedTuple):
    """A learner with a token.

    Attributes:
        learner: id, as the gateway knows it.
        token: access token of the pool, for an hour.
    """

    learner: str
    token: str


def enrol(clients: Callable[..., Any], stage: str, name: str, module: str = _MODULE) -> Enrolled:
    """Make a learner, or take the one there is, unlock a module, and sign in.

    Args:
        clients: gives the boto3 client of a service.
        stage: where.
        name: whom; the part of an address before the ``@``.
        module: which module.

    Raises:
        botocore.exceptions.ClientError: the account refused.
    """
    stack = clients("cloudformation").describe_stacks(StackName=f"maya-{stage}")["Stacks"][0]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    pool, app = outputs["UserPoolId"], outputs["AppClientId"]
    cognito, address = clients("cognito-idp"), f"{name}@{_DOMAIN}"
    password = f"Aa1{secrets.token_urlsafe(24)}"
    try:
        cognito.admin_create_user(
            UserPoolId=pool,
            Username=address,
            MessageAction="SUPPRESS",
            UserAttributes=[{"Name": "email", "Value": address}, {"Name": "email_verified", "Value": "true"}],
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != _THERE:
            raise
    cognito.admin_set_user_password(UserPoolId=pool, Username=address, Password=password, Permanent=True)
    answer = cognito.admin_initiate_auth(
        UserPoolId=pool,
        ClientId=app,
        AuthFlow="ADMIN_USER_PASSWORD_AUTH",
        AuthParameters={"USERNAME": address, "PASSWORD": password},
    )
    attributes = cognito.admin_get_user(UserPoolId=pool, Username=address)["UserAttributes"]
    learner = next(item["Value"] for item in attributes if item["Name"] == "sub")
    clients("dynamodb").update_item(
        TableName=f"maya-{stage}-IELTSUsers",
        Key={"user_id": {"S": learner}},
        UpdateExpression="ADD unlocked_modules :modules",
        ExpressionAttributeValues={":modules": {"SS": [module]}},
    )
    return Enrolled(learner, answer["AuthenticationResult"]["AccessToken"])


def main() -> int:
    """Print a token and nothing else."""
    parser = argparse.ArgumentParser(prog="python -m infra.deploy.learner", description="A token for tests")
    parser.add_argument("--stage", required=True)
    parser.add_argument("--learner", required=True, help="a name; the same one is the same learner")
    options = parser.parse_args()
    session = boto3.session.Session(region_name=REGION)
    try:
        enrolled = enrol(session.client, options.stage, options.learner)
    except (ClientError, BotoCoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(enrolled.token)
    return 0


if __name__ == "__main__":
    sys.exit(main())

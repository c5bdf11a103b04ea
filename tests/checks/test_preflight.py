"""What is looked at in the account before a deploy, and what refuses it."""

from collections import defaultdict
from unittest.mock import MagicMock

import pytest
from botocore.exceptions import ClientError, NoCredentialsError

from infra.deploy.preflight import Level, preflight


def denied(*_: object, **__: object):
    raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": ""}}, "Operation")


@pytest.fixture
def account():
    """An account in which everything is fine; tests spoil one thing."""
    clients = defaultdict(MagicMock)
    clients["sts"].get_caller_identity.return_value = {
        "Account": "123456789012",
        "Arn": "arn:aws:iam::123456789012:user/op",
    }
    clients["bedrock"].get_model_invocation_logging_configuration.return_value = {}
    clients["bedrock"].get_foundation_model.return_value = {"modelDetails": {"modelLifecycle": {"status": "ACTIVE"}}}
    clients["bedrock"].get_foundation_model_availability.return_value = {
        "authorizationStatus": "AUTHORIZED",
        "regionAvailability": "AVAILABLE",
    }
    clients["lambda"].get_account_settings.return_value = {"AccountLimit": {"ConcurrentExecutions": 1000}}
    quota = {"QuotaName": "Concurrent requests for Nova 2 Sonic", "Value": 20.0}
    clients["service-quotas"].get_paginator.return_value.paginate.return_value = [{"Quotas": [quota]}]
    clients["cloudformation"].describe_stacks.side_effect = denied
    clients["dynamodb"].list_tables.return_value = {"TableNames": ["other"]}
    clients["route53"].get_hosted_zone.return_value = {"HostedZone": {"Name": "example.com."}}
    return clients


def notes(account, template):
    return list(preflight(account.__getitem__, template.document))


def errors(account, template):
    return [note.text for note in notes(account, template) if note.level is Level.ERROR]


@pytest.mark.parametrize("stage", ["dev", "prod"])
def test_a_fine_account_is_not_refused(account, templates, stage):
    """Nothing but good news, the account among them."""
    found = notes(account, templates[stage])
    assert {note.level for note in found} == {Level.FINE}
    assert "123456789012" in found[0].text


def test_invocation_logging_refuses(account, templates):
    """Nothing may be kept of what learners say."""
    account["bedrock"].get_model_invocation_logging_configuration.return_value = {
        "loggingConfig": {"cloudWatchConfig": {"logGroupName": "g"}, "textDataDeliveryEnabled": True}
    }
    assert "invocation logging is on" in errors(account, templates["dev"])[0]


def test_not_being_allowed_to_look_refuses_where_it_matters(account, templates):
    """Not knowing whether speech is kept is no permission."""
    account["bedrock"].get_model_invocation_logging_configuration.side_effect = denied
    assert errors(account, templates["dev"]) == ["invocation logging: could not be looked at (AccessDeniedException)"]


def test_without_credentials_one_sentence_says_what_is_missing(account, templates):
    """Not one for each check that cannot be done."""
    account["sts"].get_caller_identity.side_effect = NoCredentialsError
    (note,) = notes(account, templates["dev"])
    assert note.level is Level.ERROR
    assert "Unable to locate credentials. Set AWS_PROFILE" in note.text


def test_a_model_that_cannot_be_used_refuses(account, templates):
    """Access to models is granted for an account."""
    account["bedrock"].get_foundation_model_availability.return_value = {"authorizationStatus": "NOT_AUTHORIZED"}
    assert len(errors(account, templates["dev"])) == 2


def test_a_model_that_grows_old_is_a_warning(account, templates):
    """It still answers."""
    account["bedrock"].get_foundation_model.return_value = {"modelDetails": {"modelLifecycle": {"status": "LEGACY"}}}
    assert errors(account, templates["dev"]) == []
    assert Level.WARNING in {note.level for note in notes(account, templates["dev"])}


def test_a_new_accounts_concurrency_refuses(account, templates):
    """New accounts may begin with ten concurrent executions."""
    account["lambda"].get_account_settings.return_value = {"AccountLimit": {"ConcurrentExecutions": 10}}
    assert "L-B99A9384" in errors(account, templates["dev"])[0]


def test_fewer_streams_than_lines_refuse(account, templates):
    """Conversations need a tenth, and at least two streams, to spare."""
    quota = {"QuotaName": "Concurrent requests for Nova 2 Sonic", "Value": 2.0}
    account["service-quotas"].get_paginator.return_value.paginate.return_value = [{"Quotas": [quota]}]
    assert "0 lines fit" in errors(account, templates["dev"])[0]


def test_kept_tables_refuse_a_new_stack(account, templates):
    """They outlived the last one and must be imported."""
    account["dynamodb"].list_tables.return_value = {"TableNames": ["maya-dev-IELTSUsers"]}
    assert "maya-dev-IELTSUsers" in errors(account, templates["dev"])[0]
    account["cloudformation"].describe_stacks.side_effect = None
    account["cloudformation"].describe_stacks.return_value = {"Stacks": [{"StackStatus": "UPDATE_COMPLETE"}]}
    assert errors(account, templates["dev"]) == []


def test_another_zone_refuses(account, templates):
    """The record would be nobody's."""
    account["route53"].get_hosted_zone.return_value = {"HostedZone": {"Name": "example.org."}}
    assert any("is not in the hosted zone" in text for text in errors(account, templates["prod"]))


def test_a_test_learner_is_made_signed_in_and_unlocked(account):
    """By the operator's own calls, in the stack's own pool and table; one that is there already is taken."""
    from infra.deploy.learner import enrol  # noqa: PLC0415

    outputs = [{"OutputKey": "UserPoolId", "OutputValue": "pool"}, {"OutputKey": "AppClientId", "OutputValue": "app"}]
    account["cloudformation"].describe_stacks.side_effect = None
    account["cloudformation"].describe_stacks.return_value = {"Stacks": [{"Outputs": outputs}]}
    cognito = account["cognito-idp"]
    cognito.admin_create_user.side_effect = ClientError(
        {"Error": {"Code": "UsernameExistsException"}}, "AdminCreateUser"
    )
    cognito.admin_initiate_auth.return_value = {"AuthenticationResult": {"AccessToken": "token"}}
    cognito.admin_get_user.return_value = {"UserAttributes": [{"Name": "sub", "Value": "id-1"}]}
    assert enrol(account.__getitem__, "dev", "ann") == ("id-1", "token")
    password = cognito.admin_set_user_password.call_args.kwargs["Password"]
    assert cognito.admin_initiate_auth.call_args.kwargs["AuthParameters"]["PASSWORD"] == password
    assert len(password) > 20
    update = account["dynamodb"].update_item.call_args.kwargs
    assert update["TableName"] == "maya-dev-IELTSUsers"
    assert update["Key"] == {"user_id": {"S": "id-1"}}
    cognito.admin_create_user.side_effect = denied
    with pytest.raises(ClientError):
        enrol(account.__getitem__, "dev", "ann")

"""Parts that are somebody else's, and the environment that the functions see."""

import os

import pytest

from gateway import settings
from infra.local import aws
from infra.local.environment import Addresses, local_environment, product_environment
from infra.local.outside import VARIABLES, Outside, OutsideError, check_redis, use_queue, use_tables
from infra.local.start import streams_for
from infra.local.valkey import free_port

NAMES = aws.Names("IELTSUsers", "IELTSAssessments", "us-east-1")
ADDRESSES = Addresses(
    dynamodb_url="http://dynamodb",
    sqs_url="http://sqs",
    finish_queue_url="http://sqs/queue",
    bedrock_url="https://bedrock",
    ca_bundle="/ca.pem",
    token_issuer="http://issuer",
)


def product(environment: dict[str, str], addresses: Addresses = ADDRESSES) -> dict[str, str]:
    """What the functions see when the cloud is started in `environment`."""
    local = local_environment(environment, Outside.of(environment), temporary="/private/tmp")
    return product_environment(local, addresses, NAMES, plan="tiny", lines=3)


def test_every_standard_variable_is_looked_at() -> None:
    """Each variable fills the field of its part, and an empty one counts as unset."""
    environment = {variable: f"<{variable}>" for variable in VARIABLES.values()}
    found = Outside.of(environment)
    assert [getattr(found, name) for name in Outside.__slots__] == list(environment.values())
    assert found.aws_urls == tuple(
        f"<AWS_ENDPOINT_URL_{service}>"
        for service in ("DYNAMODB", "SQS", "BEDROCK_RUNTIME", "LAMBDA", "APIGATEWAYMANAGEMENTAPI")
    )
    assert Outside.of(dict.fromkeys(environment, "")).aws_urls == ()


def test_the_functions_get_what_the_contract_names() -> None:
    """Addresses go by the SDKs' own variables, the rest by MAYA_ variables."""
    seen = product({"PATH": "/bin", "SHELL": "/bin/sh"})
    assert seen["AWS_ENDPOINT_URL_DYNAMODB"] == "http://dynamodb"
    assert seen["AWS_ENDPOINT_URL_SQS"] == "http://sqs"
    assert seen["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] == "https://bedrock"
    assert seen["AWS_CA_BUNDLE"] == "/ca.pem"
    assert seen["MAYA_FINISH_QUEUE_URL"] == "http://sqs/queue"
    assert seen["MAYA_JWKS_URL"] == "http://issuer/.well-known/jwks.json"
    assert seen["MAYA_TOKEN_USE"] == "access"
    assert (seen["MAYA_EXAM_PLAN"], seen["MAYA_LINES"]) == ("tiny", "3")
    assert seen["PATH"] == "/bin"
    assert "SHELL" not in seen
    assert "REDIS_URL" not in seen


def test_a_timing_of_the_core_is_handed_on() -> None:
    """Any MAYA_ variable of the person reaches the functions, but those of parts started here."""
    seen = product({"MAYA_RESUME_WITHIN_S": "5", "MAYA_USERS_TABLE": "other", "MAYA_LOG_LEVEL": "DEBUG"})
    assert seen["MAYA_RESUME_WITHIN_S"] == "5"
    assert seen["MAYA_LOG_LEVEL"] == "DEBUG"
    assert seen["MAYA_USERS_TABLE"] == "IELTSUsers"


def test_no_real_key_is_used_on_local_parts() -> None:
    """Keys, profiles and files of real accounts are hidden from a cloud that is all ours."""
    real = {
        "AWS_ACCESS_KEY_ID": "AKIAREAL",
        "AWS_SECRET_ACCESS_KEY": "real",
        "AWS_SESSION_TOKEN": "real",
        "AWS_PROFILE": "work",
        "AWS_ENDPOINT_URL": "http://emulator",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true",
        "AWS_CA_BUNDLE": "/etc/ssl/company.pem",
    }
    seen = product(real)
    assert seen["AWS_ACCESS_KEY_ID"] == "local"
    assert seen["AWS_SECRET_ACCESS_KEY"] == "local"
    assert seen["AWS_CONFIG_FILE"] == seen["AWS_SHARED_CREDENTIALS_FILE"] == os.devnull
    assert not {"AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_ENDPOINT_URL"} & set(seen)
    assert seen["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] == "false"
    assert seen["AWS_CA_BUNDLE"] == "/ca.pem"


def test_keys_are_kept_for_somebody_elses_service() -> None:
    """Where one service is real its keys are needed; without any, dummies do for an emulator."""
    seen = product({"AWS_ENDPOINT_URL_DYNAMODB": "https://dynamodb.us-east-1.amazonaws.com", "AWS_PROFILE": "work"})
    assert seen["AWS_PROFILE"] == "work"
    assert "AWS_ACCESS_KEY_ID" not in seen
    keys = {"AWS_ENDPOINT_URL_SQS": "http://sqs", "AWS_ACCESS_KEY_ID": "AKIAREAL", "AWS_SECRET_ACCESS_KEY": "real"}
    assert product(keys)["AWS_ACCESS_KEY_ID"] == "AKIAREAL"
    assert product({"AWS_ENDPOINT_URL_SQS": "http://sqs"})["AWS_ACCESS_KEY_ID"] == "local"


def test_no_bundle_is_named_where_there_is_none() -> None:
    """Functions that speak to the real Bedrock trust what the system trusts."""
    theirs = Addresses(**{name: getattr(ADDRESSES, name) for name in Addresses.__slots__} | {"ca_bundle": ""})
    assert "AWS_CA_BUNDLE" not in product({"AWS_ENDPOINT_URL_BEDROCK_RUNTIME": "https://bedrock"}, theirs)


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy_stands_between_parts_of_one_machine(name: str) -> None:
    """A person's proxy is kept for the outside and exempted for this machine."""
    seen = local_environment({name: "corp.example", "HTTPS_PROXY": "http://proxy"}, Outside.of({}), temporary="/t")
    assert seen["NO_PROXY"] == seen["no_proxy"] == "corp.example,127.0.0.1,localhost"
    assert seen["HTTPS_PROXY"] == "http://proxy"


def test_a_redis_that_does_not_answer_is_named(valkey: str) -> None:
    """A wrong REDIS_URL is told at once, not by the first conversation."""
    check_redis(valkey)
    with pytest.raises(OutsideError, match="REDIS_URL"):
        check_redis(f"redis://127.0.0.1:{free_port()}?retry_on_error=")
    with pytest.raises(OutsideError, match="REDIS_URL"):
        check_redis("http://127.0.0.1")


def test_services_that_do_not_answer_are_named() -> None:
    """DynamoDB and SQS of somebody else's are asked before anything depends on them."""
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(OutsideError, match=f"DynamoDB at {url} .AWS_ENDPOINT_URL_DYNAMODB."):
        use_tables(url, NAMES)
    with pytest.raises(OutsideError, match=f"SQS at {url} .AWS_ENDPOINT_URL_SQS."):
        use_queue(url, NAMES, "")


@pytest.mark.parametrize("lines", [1, 18, 19, 50, 80, 200])
def test_the_stand_ins_quota_suits_the_lines(lines: int) -> None:
    """As many streams as the product asks of an account before it gives out so many lines, and no more than a tenth beyond."""
    streams = streams_for(lines)
    assert streams >= 20
    assert settings.lines({"MAYA_SONIC_STREAMS": str(streams)}) >= lines
    assert streams == 20 or settings.lines({"MAYA_SONIC_STREAMS": str(streams - 1)}) < lines

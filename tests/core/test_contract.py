"""The published contract."""

import json
from functools import lru_cache
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gateway.contract
from gateway.contract.__main__ import differences, main, write
from gateway.core import examples
from gateway.core.contract import (
    APP_TO_GATEWAY,
    GATEWAY_TO_APP,
    asyncapi,
    direction,
    documents,
    message_name,
    schema,
    schemas,
)
from gateway.core.errors import BadAudio, BadMessage
from gateway.core.messages import DOWN_MESSAGES, UP_MESSAGES, AssessmentMessage
from gateway.core.wire import encode, parse_up

PUBLISHED = Path(gateway.contract.__file__).parent
MESSAGES = (*UP_MESSAGES, *DOWN_MESSAGES)


def name(cls):
    """Which message, for pytest."""
    return f"{direction(cls)}-{message_name(cls)}"


def valid(cls, document):
    """Whether a document is what the published schema says."""
    return validator(cls).is_valid(document)


@lru_cache
def validator(cls):
    """Validator of a message's published schema."""
    return jsonschema.Draft7Validator(schema(cls))


def test_the_published_documents_are_up_to_date():
    """What lies in the repository is what the models say."""
    assert differences(PUBLISHED) == []


@pytest.mark.parametrize("cls", MESSAGES, ids=name)
def test_schemas_are_schemas(cls):
    """Each is valid draft-07 without a word of pydantic's own."""
    document = schema(cls)
    jsonschema.Draft7Validator.check_schema(document)
    text = json.dumps(document)
    for word in ("$ref", "$defs", "prefixItems"):
        assert word not in text
    assert ('"null"' in text) is (cls is AssessmentMessage)
    assert document["description"]


@pytest.mark.parametrize("cls", MESSAGES, ids=name)
def test_real_messages_are_valid(cls):
    """What is written on the wire is what the schema says."""
    document = json.loads(encode(examples.of(cls)))
    assert valid(cls, document)
    for field in schema(cls)["required"]:
        assert not valid(cls, {key: value for key, value in document.items() if key != field}), field
    assert not valid(cls, {**document, "type": "other"})


@pytest.mark.parametrize("cls", MESSAGES, ids=name)
def test_what_may_be_added(cls):
    """The app may send no more than the contract names; the gateway's messages may grow."""
    document = {**json.loads(encode(examples.of(cls))), "new": 1}
    assert valid(cls, document) is (direction(cls) == GATEWAY_TO_APP)


ODD = st.none() | st.booleans() | st.integers(-2, 2**54) | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@pytest.mark.parametrize("cls", UP_MESSAGES, ids=name)
def test_schema_and_parser_agree(cls):
    """Whatever value a field has, the gateway takes it exactly when the schema allows it."""
    document = json.loads(encode(examples.of(cls)))
    published = schema(cls)
    optional = {key for key in published["properties"] if key not in published["required"]}

    @given(st.sampled_from(sorted({*document, *optional})), ODD)
    def agree(field, value):
        if field in optional and value is None:
            return  # the parser takes null for a field that may be left out
        if isinstance(value, float) and value.is_integer():
            return  # JSON Schema takes 1.0 for an integer, the gateway wants 1
        changed = {**document, field: value}
        try:
            parse_up(json.dumps(changed))
        except (BadMessage, BadAudio):
            taken = False
        else:
            taken = True
        base64_needs_length = field == "pcm" and valid(cls, changed)
        newline_at_the_end = isinstance(value, str) and value.endswith("\n")
        assert taken is valid(cls, changed) or base64_needs_length or newline_at_the_end

    agree()


def test_the_assessment_is_part_of_the_contract():
    """What the app shows as written assessment is described to the last field."""
    document = json.loads(encode(examples.of(AssessmentMessage)))
    assessment = document["assessment"]
    for field in assessment:
        less = {key: value for key, value in assessment.items() if key != field}
        assert not valid(AssessmentMessage, {**document, "assessment": less}), field
    assert not valid(AssessmentMessage, {**document, "assessment": {**assessment, "overall": 6.3}})
    assert valid(AssessmentMessage, {**document, "assessment": {**assessment, "overall": None}})


def test_asyncapi_names_every_message_once():
    """The document describes the gateway: it receives what the app sends and sends the rest."""
    document = asyncapi()
    components = document["components"]["messages"]
    assert len(components) == len(MESSAGES)
    received = {each["$ref"].rsplit("/", 1)[-1] for each in document["operations"]["listen"]["messages"]}
    sent = {each["$ref"].rsplit("/", 1)[-1] for each in document["operations"]["speak"]["messages"]}
    assert document["operations"]["listen"]["action"] == "receive"
    assert received == {key for key in components if key.startswith("app_")}
    assert sent == {key for key in components if key.startswith("gateway_")}
    assert set(document["channels"]["conversation"]["messages"]) == received | sent


def test_asyncapi_references_lead_somewhere():
    """Each `$ref` points into the document."""
    document = asyncapi()

    def follow(node):
        if isinstance(node, dict):
            if "$ref" in node:
                place = document
                for key in node["$ref"].removeprefix("#/").split("/"):
                    place = place[key]
            for value in node.values():
                follow(value)
        elif isinstance(node, list):
            for value in node:
                follow(value)

    follow(document)


def test_asyncapi_examples_are_valid():
    """Each example is what the payload's schema says."""
    for message in asyncapi()["components"]["messages"].values():
        for example in message["examples"]:
            jsonschema.validate(example["payload"], message["payload"]["schema"])


def test_the_page_in_words_names_every_message_and_field():
    """No message, field, allowed value or error code is missing from the page."""
    page = (PUBLISHED / "protocol.md").read_text(encoding="utf-8")
    missing = []
    for cls in MESSAGES:
        for field, node in schema(cls)["properties"].items():
            values = [value for value in node.get("enum", ()) if isinstance(value, str)]
            missing += [f"{name(cls)}.{word}" for word in (field, *values) if f"`{word}`" not in page]
        if f"`{message_name(cls)}`" not in page:
            missing.append(name(cls))
    assert missing == []


def test_command_writes_and_checks(tmp_path, capsys):
    """`--write` makes `--check` pass; what differs, is missing or left over is named."""
    assert main(["--write", str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    start = tmp_path / "schemas" / APP_TO_GATEWAY / "start.json"
    start.write_text("{}", encoding="utf-8")
    (start.parent / "stop.json").unlink()
    (start.parent / "shout.json").write_text("{}", encoding="utf-8")
    assert main(["--check", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    for fault in ("start.json: differs", "stop.json: missing", "shout.json: no such message"):
        assert fault in said
    write(tmp_path)
    assert differences(tmp_path) == []
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")) == sorted(documents())
    assert set(documents()) == {"asyncapi.json", *schemas()}

"""What a rehearsal changes of the compiled template, and that all of it is told."""

import json
import os
import subprocess
import sys

import pytest

from infra.checks.template import Template, references
from infra.local.supervisor import MARK_NAME
from infra.package.functions import FUNCTIONS
from infra.rehearse.__main__ import _left_running
from infra.rehearse.changes import adapt
from infra.rehearse.coldstart import settings_of

PASSWORDS = {"stream": "s", "relay": "r", "finish": "f"}


def rehearsal_of(template: Template):
    return adapt(template.document, redis_address="127.0.0.1:1", passwords=PASSWORDS)


def test_only_what_is_told_is_changed(templates):
    """Every resource that is gone is named with its reason, and no other is."""
    before, made = templates["dev"].document["Resources"], rehearsal_of(templates["dev"])
    gone = before.keys() - made.document["Resources"].keys()
    told = {line.split()[2] for line in made.changes if line.startswith("taken out:") and "(" in line}
    assert gone == told
    assert {before[name]["Type"] for name in gone} == {
        "AWS::ApiGatewayV2::Deployment",
        "AWS::EC2::EgressOnlyInternetGateway",
        "AWS::EC2::Route",
        "AWS::EC2::SecurityGroupEgress",
        "AWS::EC2::VPCCidrBlock",
        "AWS::ElastiCache::ServerlessCache",
        "AWS::SQS::QueuePolicy",
    }


def test_nothing_names_what_is_gone(templates):
    """Else the deploy would fail."""
    document = rehearsal_of(templates["dev"]).document
    for name, item in document["Resources"].items():
        for other in references(item.get("Properties", {})):
            assert other.startswith("AWS::") or other in document["Resources"], f"{name} names {other}"
        waits = item.get("DependsOn", [])
        assert set([waits] if isinstance(waits, str) else waits) <= document["Resources"].keys()


def test_the_template_itself_stays_as_it_is(templates):
    """A rehearsal works on a copy."""
    before = json.dumps(templates["dev"].document)
    rehearsal_of(templates["dev"])
    assert json.dumps(templates["dev"].document) == before


def test_functions_are_measured_with_variables_of_the_right_form(templates):
    """A cold start needs settings that can be read."""
    settings = settings_of(templates["dev"].document)
    assert settings.keys() == FUNCTIONS.keys()
    assert settings["relay"][0] == 1024
    assert settings["stream"][1]["REDIS_URL"].startswith("redis://")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux shows other processes' environment")
def test_a_process_that_is_left_running_would_be_seen():
    """By the mark that all processes of a rehearsal carry."""
    environ = {**os.environ, MARK_NAME: "a-rehearsal"}
    command = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # until then its environment may not be there to be read
        assert _left_running("a-rehearsal") == [process.pid]
        assert _left_running("another") == []
        process.communicate(b"\n")

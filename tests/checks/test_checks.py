"""The compiled templates are right, and each fault in them would be seen."""

import copy
import json

import pytest
from cfnlint.api import ManualArgs, lint

from infra.checks import Template, findings
from infra.checks.calls import ACTIONS, actions_of, names_used
from infra.package.functions import FUNCTIONS
from tests.checks.compiled import STAGES
from tests.checks.faults import OURS_BESIDES, SEEN_BY_THE_LINTER, SEEN_BY_US

# The framework has resources wait for what they name anyway.
LINTER = ManualArgs(regions=["us-east-1"], ignore_checks=["W3005"])


def spoiled(templates, fault) -> Template:
    stage, spoil = fault
    document = copy.deepcopy(dict(templates[stage].document))
    spoil(document["Resources"])
    return Template(document)


@pytest.mark.parametrize("stage", STAGES)
def test_nothing_is_wrong(templates, stage):
    """No finding of ours in any stage."""
    assert list(findings(templates[stage])) == []


@pytest.mark.parametrize("stage", STAGES)
def test_the_linter_is_content(templates, stage):
    """cfn-lint knows CloudFormation's schemas."""
    assert [str(match) for match in lint(json.dumps(templates[stage].document), config=LINTER)] == []


def test_the_faults_of_the_comparison_are_all_here():
    """Thirty-one were injected when the checks of others were compared."""
    assert len(SEEN_BY_THE_LINTER) + len(SEEN_BY_US) == 31


@pytest.mark.parametrize("fault", SEEN_BY_THE_LINTER)
def test_the_linter_sees(templates, fault):
    """What schemas and references show."""
    found = lint(json.dumps(spoiled(templates, SEEN_BY_THE_LINTER[fault]).document), config=LINTER)
    assert found


@pytest.mark.parametrize("fault", SEEN_BY_US | OURS_BESIDES)
def test_our_checks_see(templates, fault):
    """What no linter knows, or only one that is slow; each fault alone, in a template in which nothing else is wrong."""
    assert list(findings(spoiled(templates, (SEEN_BY_US | OURS_BESIDES)[fault])))


def test_what_the_code_calls_is_read_from_it():
    """The table of calls knows the calls that matter, and finds them where they are made."""
    assert actions_of("authorize") == actions_of("disconnect") == frozenset()
    assert actions_of("connect") == {"dynamodb:GetItem"}
    assert actions_of("stream") == {"lambda:InvokeFunction", "execute-api:ManageConnections"}
    assert {"bedrock:InvokeModel", "sqs:SendMessage", "dynamodb:PutItem"} <= actions_of("relay")
    assert "post_to_connection" in names_used("relay")


def test_no_call_of_a_client_is_unknown():
    """Each method that the code calls on a boto3 client is in the table."""
    import ast  # noqa: PLC0415

    from infra.package.build import ROOT  # noqa: PLC0415

    clients = {"_dynamodb", "_sqs", "_lambda", "_bedrock", "_client", "_phones"}
    called = set()
    for file in [*(ROOT / "gateway" / "adapters").glob("*.py"), *(ROOT / "handlers").glob("*.py")]:
        if "boto3" not in file.read_text():
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                holder = node.func.value
                holder = holder.func if isinstance(holder, ast.Call) else holder
                name = holder.attr if isinstance(holder, ast.Attribute) else getattr(holder, "id", "")
                if name in clients:
                    called.add(node.func.attr)
    assert called >= {"get_item", "transact_write_items", "send_message", "invoke", "post_to_connection", "converse"}
    assert called - ACTIONS.keys() <= {"close"}


def test_every_function_is_deployed(templates):
    """Handlers, artefacts and functions are the same six."""
    for template in templates.values():
        assert template.functions().keys() == FUNCTIONS.keys()

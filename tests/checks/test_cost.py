"""What it costs: the sums, the promises of each stage, and the dashboard's own prices."""

import json
import re

import pytest

from infra.checks.template import text_of
from infra.cost.__main__ import figures, most_metrics, prices
from infra.cost.model import Prices, conversation, idle

TOLERANCE_USD = 0.005


def total(lines):
    return sum(line.usd for line in lines)


def test_a_dev_stage_costs_less_than_fifteen_dollars_a_month(templates):
    """With Bedrock's endpoint; under ten without it."""
    lines = list(idle(templates["dev"].document, prices(), metrics=0))
    assert 10 < total(lines) < 15
    assert total(line for line in lines if "Bedrock" not in line.what) < 10


def test_a_way_out_by_nat_costs_what_it_costs(templates):
    """One gateway and its address, and what passes through it."""
    lines = {line.what: line.usd for line in idle(templates["staging"].document, prices(), metrics=0)}
    assert lines["NAT gateway"] == pytest.approx(32.85)
    assert lines["its public address"] == pytest.approx(3.65)
    assert any("NAT" in line.what for line in conversation(templates["staging"].document, prices(), figures()))


def test_a_conversation_costs_mostly_nova_sonic(templates):
    """The gateway around it is less than half."""
    lines = list(conversation(templates["prod"].document, prices(), figures()))
    sonic = next(line.usd for line in lines if line.what.startswith("Nova Sonic"))
    assert 0.05 < sonic < total(lines) < 2 * sonic


def test_a_sum_by_hand(templates):
    """Ten minutes of nothing but the relay and messages."""
    document = {
        "as_of": "x",
        "hours_a_month": 730,
        "prices": {name: {"usd": 0.0, "sure": True} for name in prices()._prices},
    }
    document["prices"]["lambda_arm_gb_second"] = {"usd": 0.00001, "sure": True}
    lines = conversation(templates["dev"].document, Prices(document), figures())
    relay = next(line for line in lines if line.what.startswith("relay"))
    assert relay.usd == pytest.approx(13 * 60 * 1.0 * 0.00001)


def test_the_dashboard_reckons_with_the_same_prices(templates):
    """Its expression holds the prices of messages and relays, and the rest of a conversation as one figure."""
    body = text_of(next(templates["prod"].of_type("CloudWatch::Dashboard")).properties["DashboardBody"])
    metrics = [metric for widget in json.loads(body)["widgets"] for metric in widget["properties"].get("metrics", [])]
    expression = next(
        metric[0]["expression"]
        for metric in metrics
        if metric[0].__class__ is dict and "messages" in metric[0]["expression"]
    )
    a_message, a_relay_ms, the_rest = (float(number) for number in re.findall(r"\* ([0-9.E-]+)", expression))
    lines = list(conversation(templates["prod"].document, prices(), figures()))
    assert a_message == prices().usd("websocket_million_messages") / 1e6
    assert a_relay_ms == pytest.approx(prices().usd("lambda_arm_gb_second") / 1000, rel=0.01)
    rest = total(line for line in lines if not line.what.startswith(("API Gateway", "relay")))
    assert the_rest == pytest.approx(rest, abs=TOLERANCE_USD)


def test_metrics_have_a_bound():
    """Each dimension has a closed list of values, so the bill for metrics has an end."""
    assert 50 < most_metrics() < 500


def test_every_figure_says_where_it_comes_from():
    """Measured, or a judgement that is called one."""
    import yaml  # noqa: PLC0415

    from infra.cost.__main__ import _HERE  # noqa: PLC0415

    document = yaml.safe_load((_HERE / "figures.yml").read_text())
    for name, entry in document["figures"].items():
        assert re.match(r"traffic|bench|assumed", entry["from"]), name


def test_what_was_counted_is_what_is_reckoned_with():
    """The traffic of a test in virtual time, with little to spare: a change of the protocol shows here."""
    from tests.bench.traffic import count  # noqa: PLC0415

    counted, used = count(), figures()
    assert used.up_bytes == pytest.approx(counted["up_bytes"], rel=0.1)
    assert used.other_up_a_minute == pytest.approx(counted["other_up_a_minute"], rel=0.2)
    assert used.down_a_minute == pytest.approx(counted["down_a_minute"], rel=0.2)
    assert used.down_bytes == pytest.approx(counted["down_bytes"], rel=0.2)


def test_the_readme_says_what_the_sums_say(templates):
    """The runbook's table of costs is computed, not remembered."""
    from infra.package.build import ROOT  # noqa: PLC0415

    text = (ROOT / "infra" / "README.md").read_text()
    for stage in ("dev", "prod"):
        idle_usd = total(idle(templates[stage].document, prices(), metrics=0))
        conversation_usd = total(conversation(templates[stage].document, prices(), figures()))
        assert f"| {stage} | {idle_usd:.2f}" in text
        assert f" {conversation_usd:.3f} |" in text

"""The sums. Pure: prices and figures come in, lines go out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

_KB: Final = 1024
_GB: Final = 1024**3
_MILLION: Final = 1_000_000
_ECPU_BYTES: Final = 1024
_FREE_ALARMS: Final = 10
_FREE_DASHBOARDS: Final = 3
_FREE_METRICS: Final = 10


class Line(NamedTuple):
    """One item of a bill.

    Attributes:
        what: in words.
        usd: how much.
        sure: whether all of its prices come from price lists.
    """

    what: str
    usd: float
    sure: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one conversation does, measured where it can be.

    Attributes:
        minutes: how long it lasts.
        frame_ms: length of the learner's frames.
        up_bytes: of one message with a frame.
        other_up_a_minute: acknowledgements, pings and pongs of the phone.
        down_a_minute: messages that the relay posts.
        down_bytes: of one of them.
        stream_ms: billed for one call of the stream function.
        spoken_share: part of the time in which the learner speaks; silence is not billed.
        maya_share: part of the time in which Maya speaks.
        text_in_tokens: of prompts, histories and stage directions, over all streams.
        text_out_tokens: of transcripts and assessments.
        micro_in_tokens: to Nova Micro.
        micro_out_tokens: from it.
        log_bytes: of all functions.
    """

    minutes: float
    frame_ms: float
    up_bytes: float
    other_up_a_minute: float
    down_a_minute: float
    down_bytes: float
    stream_ms: float
    spoken_share: float
    maya_share: float
    text_in_tokens: float
    text_out_tokens: float
    micro_in_tokens: float
    micro_out_tokens: float
    log_bytes: float


class Prices:
    """The table.

    Args:
        document: of ``prices.yml``.
    """

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.as_of = str(document["as_of"])
        self.hours = float(document["hours_a_month"])
        self._prices: Mapping[str, Mapping[str, Any]] = document["prices"]

    def usd(self, name: str) -> float:
        """Return a price."""
        return float(self._prices[name]["usd"])

    def sure(self, *names: str) -> bool:
        """Whether all of these come from price lists."""
        return all(bool(self._prices[name]["sure"]) for name in names)


def idle(template: Mapping[str, Any], prices: Prices, *, metrics: int) -> Iterator[Line]:
    """Yield what a compiled template costs a month while nobody speaks.

    Args:
        template: the compiled template.
        prices: the table.
        metrics: custom metrics that are emitted at all; without conversations none are, and none are billed.
    """
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for item in template["Resources"].values():
        kinds.setdefault(item["Type"], []).append(item.get("Properties", {}))

    def hourly(what: str, count: float, price: str) -> Line:
        return Line(what, count * prices.hours * prices.usd(price), prices.sure(price))

    if "AWS::ElastiCache::ServerlessCache" in kinds:
        yield hourly("Valkey without nodes, at its least of 100 MB", 0.1, "valkey_serverless_gb_hour")
    for group in kinds.get("AWS::ElastiCache::ReplicationGroup", []):
        nodes = int(group["NumNodeGroups"]) * (1 + int(group["ReplicasPerNodeGroup"]))
        yield hourly(f"Valkey on {nodes} nodes of {group['CacheNodeType']}", nodes, "valkey_t4g_small_hour")
    interfaces = sum(
        len(endpoint["SubnetIds"])
        for endpoint in kinds.get("AWS::EC2::VPCEndpoint", [])
        if endpoint.get("VpcEndpointType") == "Interface"
    )
    if interfaces:
        yield hourly("interface endpoint of Bedrock", interfaces, "interface_endpoint_hour")
    gateways = len(kinds.get("AWS::EC2::NatGateway", []))
    if gateways:
        yield hourly("NAT gateway", gateways, "nat_gateway_hour")
        yield hourly("its public address", gateways, "public_ipv4_hour")
    secrets = len(kinds.get("AWS::SecretsManager::Secret", []))
    yield Line(f"{secrets} secrets", secrets * prices.usd("secret_month"), prices.sure("secret_month"))
    yield from _watching(kinds, prices, metrics)


def _watching(kinds: Mapping[str, list[Mapping[str, Any]]], prices: Prices, metrics: int) -> Iterator[Line]:
    alarms = len(kinds.get("AWS::CloudWatch::Alarm", []))
    beyond = max(0, alarms - _FREE_ALARMS)
    yield Line(f"{alarms} alarms (ten are free)", beyond * prices.usd("alarm_month"), prices.sure("alarm_month"))
    dashboards = max(0, len(kinds.get("AWS::CloudWatch::Dashboard", [])) - _FREE_DASHBOARDS)
    yield Line("dashboard (three are free)", dashboards * prices.usd("dashboard_month"), prices.sure("dashboard_month"))
    paid = max(0, metrics - _FREE_METRICS)
    if paid:
        yield Line(f"{metrics} metrics (ten are free)", paid * prices.usd("custom_metric_month"), True)


def conversation(template: Mapping[str, Any], prices: Prices, figures: Figures) -> Iterator[Line]:
    """Yield what one conversation costs."""
    frames = figures.minutes * 60_000 / figures.frame_ms
    up = frames + figures.minutes * figures.other_up_a_minute
    down = figures.minutes * figures.down_a_minute
    memory = {name: _memory(template, name) for name in ("Stream", "Relay")}
    yield Line(
        f"Nova Sonic: {figures.minutes:g} minutes of speech and its text",
        _sonic(prices, figures),
        prices.sure("sonic_thousand_speech_in", "sonic_thousand_speech_out", "sonic_thousand_text_in"),
    )
    yield Line(
        f"API Gateway: {up + down:,.0f} messages and {figures.minutes:g} minutes",
        (up + down) / _MILLION * prices.usd("websocket_million_messages")
        + figures.minutes / _MILLION * prices.usd("websocket_million_minutes"),
        prices.sure("websocket_million_messages", "websocket_million_minutes"),
    )
    yield Line(
        f"stream: {up:,.0f} calls of {figures.stream_ms:g} ms at {memory['Stream']:g} GB",
        up
        * (
            figures.stream_ms / 1000 * memory["Stream"] * prices.usd("lambda_arm_gb_second")
            + prices.usd("lambda_million_requests") / _MILLION
        ),
        prices.sure("lambda_arm_gb_second", "lambda_million_requests"),
    )
    yield Line(
        f"relay: {figures.minutes:g} minutes at {memory['Relay']:g} GB",
        figures.minutes * 60 * memory["Relay"] * prices.usd("lambda_arm_gb_second"),
        prices.sure("lambda_arm_gb_second"),
    )
    yield from _carrying(template, prices, figures, up=up, down=down, frames=frames)
    yield from _keeping(template, prices, figures)


def _sonic(prices: Prices, figures: Figures) -> float:
    tokens_a_minute = 25 * 60
    speech_in = figures.minutes * figures.spoken_share * tokens_a_minute / 1000
    speech_out = figures.minutes * figures.maya_share * tokens_a_minute / 1000
    return (
        speech_in * prices.usd("sonic_thousand_speech_in")
        + speech_out * prices.usd("sonic_thousand_speech_out")
        + figures.text_in_tokens / 1000 * prices.usd("sonic_thousand_text_in")
        + figures.text_out_tokens / 1000 * prices.usd("sonic_thousand_text_out")
    )


def _carrying(
    template: Mapping[str, Any], prices: Prices, figures: Figures, *, up: float, down: float, frames: float
) -> Iterator[Line]:
    """Yield what Redis and the network take."""
    types = {item["Type"] for item in template["Resources"].values()}
    if "AWS::ElastiCache::ServerlessCache" in types:
        # Published once and delivered once, and one small read; the relay's own commands come to a few a second.
        units = (
            frames * (2 * max(1.0, figures.up_bytes / _ECPU_BYTES) + 1) + (up - frames) * 3 + figures.minutes * 60 * 4
        )
        price = "valkey_serverless_million_ecpu"
        yield Line(f"Valkey: {units:,.0f} processing units", units / _MILLION * prices.usd(price), prices.sure(price))
    sent_gb = down * figures.down_bytes / _GB
    yield Line("data out to the phone", sent_gb * prices.usd("data_out_gb"), prices.sure("data_out_gb"))
    if "AWS::EC2::NatGateway" in types:
        through_gb = (frames * figures.up_bytes * 1.4 + 2 * down * figures.down_bytes) / _GB
        yield Line("through the NAT gateway", through_gb * prices.usd("nat_gb"), prices.sure("nat_gb"))


def _keeping(template: Mapping[str, Any], prices: Prices, figures: Figures) -> Iterator[Line]:
    """Yield what assessing, saving and logging take."""
    yield Line(
        "Nova Micro: the summary",
        figures.micro_in_tokens / _MILLION * prices.usd("micro_million_in")
        + figures.micro_out_tokens / _MILLION * prices.usd("micro_million_out"),
        prices.sure("micro_million_in", "micro_million_out"),
    )
    replicas = max(
        len(item["Properties"]["Replicas"])
        for item in template["Resources"].values()
        if "Replicas" in item.get("Properties", {})
    )
    # A transaction writes twice; an assessment has about 3 KB, in two items, in each region.
    writes = 2 * 2 * 3 * replicas
    price = "dynamodb_million_write_units"
    yield Line(f"DynamoDB: {writes} write units", writes / _MILLION * prices.usd(price), prices.sure(price))
    yield Line("logs", figures.log_bytes / _GB * prices.usd("log_gb"), prices.sure("log_gb"))


def _memory(template: Mapping[str, Any], name: str) -> float:
    return int(template["Resources"][f"{name}LambdaFunction"]["Properties"]["MemorySize"]) / _KB

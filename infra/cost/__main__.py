"""``python -m infra.cost TEMPLATE...``: idle cost a month of each compiled stage, and what a conversation costs in it."""

import argparse
import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from gateway.adapters.telemetry import METRICS
from infra.cost.model import Figures, Line, Prices, conversation, idle

_HERE: Final = Path(__file__).parent


def prices() -> Prices:
    """Return the table of prices."""
    return Prices(yaml.safe_load((_HERE / "prices.yml").read_text(encoding="utf-8")))


def figures() -> Figures:
    """Return what one conversation does."""
    document = yaml.safe_load((_HERE / "figures.yml").read_text(encoding="utf-8"))
    return Figures(**{name: float(entry["value"]) for name, entry in document["figures"].items()})


def most_metrics() -> int:
    """Return how many metrics, each with its dimensions, there are when everything that can happen has happened in one region."""
    return sum(
        (1 + len(metric.parts))
        * ((1 if metric.dimension == "region" else max(1, len(metric.values))) + int(metric.overall))
        for metric in METRICS.values()
    )


def main() -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.cost", description="What it costs, idle and per conversation"
    )
    parser.add_argument("templates", type=Path, nargs="+")
    table, does = prices(), figures()
    for file in parser.parse_args().templates:
        template: Mapping[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        stage = template["Resources"]["WebsocketsDeploymentStage"]["Properties"]["StageName"]
        _tell(f"{stage}: idle, USD a month", idle(template, table, metrics=0))
        _tell(f"{stage}: one conversation, USD", conversation(template, table, does), digits=4)
    busy = max(0, most_metrics() - 10) * table.usd("custom_metric_month")
    print(
        f"In a month with conversations: up to {most_metrics()} metrics, {busy:.2f} USD, billed by the hour that they are emitted in."
    )
    print(
        f"List prices of us-east-1 as of {table.as_of}, no free tiers but CloudWatch's; ~ marks what no price page confirms."
    )
    return 0


def _tell(title: str, lines: Iterable[Line], digits: int = 2) -> None:
    print(f"{title}")
    total = 0.0
    for line in lines:
        total += line.usd
        print(f"  {line.usd:10.{digits}f} {' ' if line.sure else '~'} {line.what}")
    print(f"  {total:10.{digits}f}   in all")


if __name__ == "__main__":
    sys.exit(main())

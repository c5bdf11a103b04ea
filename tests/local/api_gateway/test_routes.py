"""Route selection."""

from typing import Any

import pytest

from infra.local.api_gateway.routes import RouteSelector

ROUTES = {"$connect": "c", "$disconnect": "d", "$default": "rest", "stream": "s", "7": "seven"}


@pytest.mark.parametrize(
    ("body", "route"),
    [
        ('{"action": "stream"}', ("stream", "s")),
        ('{"type": "audio", "action":"stream", "pcm": ""}', ("stream", "s")),
        ('{"action": "other"}', ("$default", "rest")),
        ('{"action": "$connect"}', ("$default", "rest")),
        ('{"action": "$disconnect"}', ("$default", "rest")),
        ('{"action": 7}', ("$default", "rest")),
        ('{"action": {"a": 1}}', ("$default", "rest")),
        ('{"other": 1}', ("$default", "rest")),
        ("[1]", ("$default", "rest")),
        ("not json", ("$default", "rest")),
        ("", ("$default", "rest")),
        ("[" * 100_000, ("$default", "rest")),
    ],
)
def test_the_action_chooses_the_route(body: str, route: Any) -> None:
    """A known action goes to its route; everything else, JSON or not, to $default."""
    assert RouteSelector("$request.body.action", ROUTES).select(body) == route


def test_without_default_nothing_takes_the_rest() -> None:
    """An API without $default forbids what has no route."""
    selector = RouteSelector("$request.body.action", {"stream": "s"})
    assert selector.select('{"action": "other"}') is None
    assert selector.select("{") is None
    assert selector.select('{"action": "stream"}') == ("stream", "s")


@pytest.mark.parametrize("expression", ["$request.body.a.b", "${request.body.a.b}"])
def test_nested_names(expression: str) -> None:
    """The expression may reach into objects."""
    assert RouteSelector(expression, ROUTES).select('{"a": {"b": "stream"}}') == ("stream", "s")


def test_other_expressions_are_refused() -> None:
    """An expression that is not understood is an error at the start."""
    with pytest.raises(ValueError, match=r"only \$request.body.NAME is known"):
        RouteSelector("$context.routeKey", ROUTES)

"""The token bucket."""

from infra.local.api_gateway.throttle import TokenBucket


def test_a_burst_then_the_rate() -> None:
    """A full bucket gives its burst at once, then what comes back with time."""
    bucket = TokenBucket(2.0, 3, 100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(100.4)
    assert bucket.take(100.5)
    assert not bucket.take(100.6)


def test_tokens_do_not_pile_up() -> None:
    """However long nothing comes, there are no more tokens than the burst."""
    bucket = TokenBucket(1000.0, 2, 0.0)
    assert [bucket.take(3600.0) for _ in range(3)] == [True, True, False]

"""What signatures share."""

import hmac

from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.sigv4 import Mac, Seconds

NOON_S = 1_795_176_000.0


@given(st.binary(max_size=64), st.text(max_size=200))
def test_a_mac_is_pythons_own(key: bytes, text: str) -> None:
    """Every key and text give the code that Python's module gives, twice in a row."""
    mac = Mac(key)
    assert mac.digest(text) == mac.digest(text) == hmac.digest(key, text.encode(), "sha256")


def test_within_a_second_nothing_is_made_anew() -> None:
    """The same second and key give the same object; another second another stamp, and the key of the same day."""
    seconds = Seconds("us-east-1", "bedrock")
    first = seconds.at(NOON_S, "secret")
    assert (first.stamp, first.scope) == ("20261120T120000Z", "20261120/us-east-1/bedrock/aws4_request")
    assert seconds.at(NOON_S + 0.999, "secret") is first
    second = seconds.at(NOON_S + 1.0, "secret")
    assert second.stamp == "20261120T120001Z"
    assert second.mac is first.mac


def test_a_new_day_and_a_new_secret_give_a_new_key() -> None:
    """Neither signs with the key from before, and going back gives the same signatures again."""
    seconds = Seconds("us-east-1", "bedrock")
    signed = [
        seconds.at(now_s, secret).mac.digest("x")
        for now_s, secret in (
            (NOON_S, "secret"),
            (NOON_S, "other"),
            (NOON_S + 86_400, "other"),
            (NOON_S + 86_400, "secret"),
            (NOON_S, "secret"),
        )
    ]
    assert len(set(signed)) == 4
    assert signed[0] == signed[4]

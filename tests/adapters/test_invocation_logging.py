"""No stream is opened while Bedrock keeps what is said."""

import pytest

from gateway.adapters.invocation_logging import InvocationLogging, is_on
from gateway.adapters.nova_sonic import fault_of
from gateway.core.errors import AccessRefused
from gateway.core.nova_events import Fault

ON = {"loggingConfig": {"s3Config": {"bucketName": "kept"}, "textDataDeliveryEnabled": True}}
OFF: dict[str, object] = {}


class Service:
    """Answers, or refuses to."""

    def __init__(self, answer) -> None:
        self.answer = answer
        self.asked = 0

    def __call__(self):
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("answer", "on"),
    [
        (OFF, False),
        ({"loggingConfig": {}}, False),
        (ON, True),
        ({"loggingConfig": {"cloudWatchConfig": {"logGroupName": "g"}}}, True),
        ({"loggingConfig": {"s3Config": {"bucketName": "b"}, "textDataDeliveryEnabled": False}}, False),
        (
            {
                "loggingConfig": {
                    "s3Config": {"bucketName": "b"},
                    "textDataDeliveryEnabled": False,
                    "audioDataDeliveryEnabled": True,
                }
            },
            True,
        ),
    ],
)
def test_what_the_service_says(answer, on):
    """It is on when something is delivered somewhere."""
    assert is_on(answer) is on


async def test_nothing_is_refused_while_it_is_off():
    """And the answer is remembered for a while."""
    service, now = Service(OFF), [0.0]
    check = InvocationLogging("strict", ask=service, now_s=lambda: now[0])
    for _ in range(3):
        await check.require_off()
    assert service.asked == 1
    now[0] = 601.0
    await check.require_off()
    assert service.asked == 2


@pytest.mark.parametrize("mode", ["tolerant", "strict"])
async def test_a_stream_is_refused_while_it_is_on(mode):
    """The conversation ends as with any other misconfiguration, without trying again."""
    check = InvocationLogging(mode, ask=Service(ON))
    with pytest.raises(AccessRefused) as refused:
        await check.require_off()
    assert fault_of(refused.value) is Fault.MISCONFIGURED
    assert not Fault.MISCONFIGURED.retryable


@pytest.mark.parametrize(("mode", "refused"), [("tolerant", False), ("strict", True)])
async def test_not_knowing_is_a_setting(mode, refused):
    """A role may lack the permission, or the network the way."""
    check = InvocationLogging(mode, ask=Service(AccessRefused("bedrock answered 403")))
    if refused:
        with pytest.raises(AccessRefused, match="cannot be looked at"):
            await check.require_off()
    else:
        await check.require_off()


async def test_off_never_asks():
    """As on one machine, where there is nobody to ask."""
    service = Service(ON)
    await InvocationLogging("off", ask=service).require_off()
    assert service.asked == 0

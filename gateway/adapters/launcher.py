"""Starting a relay: an asynchronous invocation of its Lambda function, which outlives its caller."""

import functools
import json
from typing import TYPE_CHECKING

from gateway.adapters.aws_calls import client, remote_errors

if TYPE_CHECKING:
    from types_boto3_lambda.client import LambdaClient


class RelayLauncher:
    """Starts relays.

    Args:
        function: name of the relay's Lambda function.
    """

    def __init__(self, function: str) -> None:
        self._function = function

    def launch(self, learner: str) -> None:
        """Have Lambda queue an invocation of the relay for a learner. The payload holds the learner's id and nothing else.

        A repeated launch does no harm: a relay that finds the learner's lease taken ends at once.

        Raises:
            RemoteError: Lambda did not take it.
        """
        payload = json.dumps({"version": 1, "learner": learner}).encode()
        with remote_errors("lambda"):
            self._lambda.invoke(FunctionName=self._function, InvocationType="Event", Payload=payload)

    @functools.cached_property
    def _lambda(self) -> "LambdaClient":
        made: LambdaClient = client("lambda", connect_timeout_s=1.0, read_timeout_s=1.0, attempts=2, connections=1)
        return made

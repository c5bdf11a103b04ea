"""The queue of written assessments that could not be saved in time; `handlers.finish` empties it.

A message is ``{"version": 1, "learner": L, "assessment": {...}}``: the written document and nothing that was spoken.
"""

import functools
import json
from typing import TYPE_CHECKING

from gateway.adapters.aws_calls import client, remote_errors
from gateway.core.assessment import Assessment

if TYPE_CHECKING:
    from types_boto3_sqs.client import SQSClient


class FinishQueue:
    """The queue.

    Args:
        url: its address.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    def send(self, learner: str, assessment: Assessment) -> None:
        """Queue an assessment to be saved later.

        Raises:
            RemoteError: the queue did not take it.
        """
        document = {"version": 1, "learner": learner, "assessment": assessment.model_dump(mode="json")}
        body = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        with remote_errors("sqs"):
            self._sqs.send_message(QueueUrl=self._url, MessageBody=body)

    @functools.cached_property
    def _sqs(self) -> "SQSClient":
        made: SQSClient = client("sqs", connect_timeout_s=1.0, read_timeout_s=3.0, attempts=4, connections=1)
        return made

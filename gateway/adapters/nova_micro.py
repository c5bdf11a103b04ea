"""Nova Micro, which reads transcripts and notes: one Converse call with a tool that it must call.

Source: Amazon Bedrock API reference, "Converse"; Amazon Nova user guide, "Tool use" (``toolChoice`` with a tool's name).
"""

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from gateway.adapters.aws_calls import client, remote_errors
from gateway.core.assessment import MicroRequest
from gateway.core.errors import BadToolInput
from gateway.settings import MicroSettings

if TYPE_CHECKING:
    from types_boto3_bedrock_runtime.client import BedrockRuntimeClient

_MAX_TOKENS: Final = 2_000
"""Three times what the longest notes or summary take."""


class NovaMicro:
    """The model.

    Args:
        settings: which model, and time limits.
    """

    def __init__(self, settings: MicroSettings) -> None:
        self._settings = settings

    def ask(self, request: MicroRequest) -> Mapping[str, Any]:
        """Return the arguments that the model calls the request's tool with, unchecked. Blocks.

        Raises:
            BadToolInput: the model did not call the tool, or not with an object.
            RemoteError: the service did not answer, also not when asked again.
        """
        tool = request.tool
        specification: Any = tool.as_converse()
        with remote_errors("bedrock-runtime"):
            answer = self._bedrock.converse(
                modelId=self._settings.model_id,
                system=[{"text": request.system}],
                messages=[{"role": "user", "content": [{"text": request.user}]}],
                inferenceConfig={"maxTokens": _MAX_TOKENS, "temperature": 0.0},
                toolConfig={"tools": [specification], "toolChoice": {"tool": {"name": tool.name}}},
            )
        for block in answer.get("output", {}).get("message", {}).get("content", []):
            use = block.get("toolUse", {})
            arguments = use.get("input")
            if use.get("name") == tool.name and isinstance(arguments, dict):
                return arguments
        raise BadToolInput(f"{tool.name} must be called with a JSON object")

    @functools.cached_property
    def _bedrock(self) -> "BedrockRuntimeClient":
        settings = self._settings
        made: BedrockRuntimeClient = client(
            "bedrock-runtime",
            connect_timeout_s=settings.connect_timeout_s,
            read_timeout_s=settings.read_timeout_s,
            attempts=settings.attempts,
        )
        return made

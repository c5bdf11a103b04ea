"""HTTP errors as the service words them."""

from __future__ import annotations

import json

from infra.local.nova.http2 import StreamPort
from infra.local.nova.service_errors import HttpError


def respond_with_error(port: StreamPort, error: HttpError, request_id: str) -> None:
    """Answer a request with an HTTP error as the service words it."""
    port.respond(error.status, error_headers(error, request_id))
    port.send(json.dumps({"message": error.message}).encode())
    port.end()


def error_headers(error: HttpError, request_id: str) -> dict[str, str]:
    """Return the headers of an HTTP error; clients cut the type at its colon."""
    return {
        "content-type": "application/json",
        "x-amzn-requestid": request_id,
        "x-amzn-errortype": f"{error.error_type}:http://internal.amazon.com/coral/com.amazon.bedrock/",
    }

"""Finding a handler, and the JSON that Lambda answers when a function fails.

Error types and texts follow ``awslambdaric`` (handler loading, stack traces) and the Lambda service (timeouts, exits).
"""

from __future__ import annotations

import importlib
import json
import signal
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

Handler = Callable[[Any, Any], Any]

_SIGNAL_TEXTS = {
    signal.SIGHUP: "hangup",
    signal.SIGINT: "interrupt",
    signal.SIGQUIT: "quit",
    signal.SIGILL: "illegal instruction",
    signal.SIGABRT: "aborted",
    signal.SIGBUS: "bus error",
    signal.SIGFPE: "floating point exception",
    signal.SIGKILL: "killed",
    signal.SIGSEGV: "segmentation fault",
    signal.SIGTERM: "terminated",
}


class LoadError(Exception):
    """The handler cannot be used; ``document`` is Lambda's error JSON."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(document["errorType"])
        self.document = document


def load_handler(path: str) -> Handler:
    """Import ``package.module.function``.

    Raises:
        LoadError: There is no such module or function, or its import raised.
    """
    module_name, dot, function_name = path.rpartition(".")
    if not dot:
        text = f"Bad handler '{path}': not enough values to unpack (expected 2, got 1)"
        raise LoadError(_document("Runtime.MalformedHandlerName", text))
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as exc:
        text = f"Unable to import module '{module_name}': {exc}"
        raise LoadError(_document("Runtime.ImportModuleError", text)) from None
    except SyntaxError as exc:
        text = f"Syntax error in module '{module_name}': {exc}"
        raise LoadError(_document("Runtime.UserCodeSyntaxError", text)) from None
    except Exception as exc:  # noqa: BLE001 # whatever the module's code raises
        raise LoadError(error_document(exc, exc.__traceback__, "")) from None
    handler = getattr(module, function_name, None)
    if handler is None:
        text = f"Handler '{function_name}' missing on module '{module_name}'"
        raise LoadError(_document("Runtime.HandlerNotFound", text))
    loaded: Handler = handler
    return loaded


def error_document(error: BaseException, trace: TracebackType | None, request_id: str) -> dict[str, Any]:
    """Lambda's JSON for an exception: type, message, request id and the stack from ``trace`` on."""
    return {
        "errorMessage": str(error),
        "errorType": type(error).__name__,
        "requestId": request_id,
        "stackTrace": traceback.format_list(traceback.extract_tb(trace)),
    }


def log(document: dict[str, Any]) -> None:
    """Write an error document to standard output, as Lambda's log shows it."""
    lines = [f"[ERROR] {document['errorType']}: {document['errorMessage']}\n"]
    if document["stackTrace"]:
        lines += ["Traceback (most recent call last):\n", *document["stackTrace"]]
    sys.stdout.write("".join(lines))
    sys.stdout.flush()


def exit_error(request_id: str, exit_code: int | None) -> bytes:
    """The payload when an environment ended under an invocation.

    ``exit_code`` is the process's own, or the negative number of the signal that killed it; None is not known.
    """
    if not exit_code:
        reason = "Runtime exited without providing a reason"
    elif exit_code > 0:
        reason = f"Runtime exited with error: exit status {exit_code}"
    else:
        reason = f"Runtime exited with error: signal: {signal_text(-exit_code)}"
    return _service_error("Runtime.ExitError", f"RequestId: {request_id} Error: {reason}")


def timeout_error(request_id: str, timeout_s: float) -> bytes:
    """The payload when a function took longer than its timeout."""
    return _service_error("Sandbox.Timedout", f"RequestId: {request_id} Error: {timeout_text(timeout_s)}")


def timeout_text(timeout_s: float) -> str:
    """What Lambda says, in the answer and in the log, of a function that took too long."""
    return f"Task timed out after {timeout_s:.2f} seconds"


def signal_text(number: int) -> str:
    """A signal in the words of the Lambda service."""
    try:
        known = signal.Signals(number)
    except ValueError:
        return f"signal {number}"
    return _SIGNAL_TEXTS.get(known, f"signal {number}")


def to_json(value: object) -> bytes:
    """Turn a handler's answer into JSON as Lambda does: Decimal becomes a number.

    Raises:
        TypeError, ValueError: The value has no JSON form.
    """
    return json.dumps(value, default=_decimal_as_float, ensure_ascii=False).encode()


def _decimal_as_float(value: object) -> float:
    decimal = sys.modules.get("decimal")
    if decimal is not None and isinstance(value, decimal.Decimal):
        return float(value)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def marshal_error(error: Exception, request_id: str) -> dict[str, Any]:
    """Lambda's JSON for an answer that has no JSON form."""
    return {
        "errorMessage": f"Unable to marshal response: {error}",
        "errorType": "Runtime.MarshalError",
        "requestId": request_id,
        "stackTrace": [],
    }


def too_large_error() -> bytes:
    """The payload when a handler's answer exceeds what Lambda passes on."""
    text = "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
    return _service_error("Function.ResponseSizeTooLarge", text)


def _document(error_type: str, text: str) -> dict[str, Any]:
    return {"errorMessage": text, "errorType": error_type, "requestId": "", "stackTrace": []}


def _service_error(error_type: str, text: str) -> bytes:
    return json.dumps({"errorType": error_type, "errorMessage": text}).encode()

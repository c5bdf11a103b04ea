"""Handler loading and error documents."""

import decimal
import json
import signal
from pathlib import Path

import pytest

from infra.local.lambda_service import faults


@pytest.mark.parametrize(
    ("path", "error_type", "text"),
    [
        ("nodot", "Runtime.MalformedHandlerName", "Bad handler 'nodot'"),
        ("no_such_module.handler", "Runtime.ImportModuleError", "Unable to import module 'no_such_module'"),
        ("json.no_such_function", "Runtime.HandlerNotFound", "Handler 'no_such_function' missing on module 'json'"),
        ("syntax_error_module.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'syntax_error_module'"),
        ("raising_module.handler", "ZeroDivisionError", "division by zero"),
    ],
)
def test_handlers_that_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, error_type: str, text: str
) -> None:
    """Each way of not finding a handler has Lambda's own error type and text."""
    (tmp_path / "syntax_error_module.py").write_text("def handler(\n")
    (tmp_path / "raising_module.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(faults.LoadError) as caught:
        faults.load_handler(path)
    assert caught.value.document["errorType"] == error_type
    assert text in caught.value.document["errorMessage"]


def test_a_handler_is_found_by_slashes_too() -> None:
    """Lambda accepts a path for the module."""
    loaded: object = faults.load_handler("json/decoder.JSONDecoder")
    assert loaded is json.JSONDecoder


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (3, "Runtime exited with error: exit status 3"),
        (0, "Runtime exited without providing a reason"),
        (None, "Runtime exited without providing a reason"),
        (-signal.SIGKILL, "Runtime exited with error: signal: killed"),
        (-signal.SIGSEGV, "Runtime exited with error: signal: segmentation fault"),
        (-250, "Runtime exited with error: signal: signal 250"),
        (-signal.SIGUSR1, f"Runtime exited with error: signal: signal {signal.SIGUSR1.value}"),
    ],
)
def test_exit_errors(code: int | None, reason: str) -> None:
    """The end of a process is told in the words of the Lambda service."""
    document = json.loads(faults.exit_error("abc", code))
    assert document == {"errorType": "Runtime.ExitError", "errorMessage": f"RequestId: abc Error: {reason}"}


def test_timeout_error_has_two_decimals() -> None:
    """A timeout says how long the function was allowed to run."""
    document = json.loads(faults.timeout_error("abc", 3))
    assert document["errorMessage"] == "RequestId: abc Error: Task timed out after 3.00 seconds"


def test_decimals_become_numbers_and_other_things_are_refused() -> None:
    """DynamoDB's numbers can be answered, a set cannot."""
    assert faults.to_json({"n": decimal.Decimal("0.5")}) == b'{"n": 0.5}'
    with pytest.raises(TypeError, match="Object of type set is not JSON serializable"):
        faults.to_json({1})


def test_error_document_has_lambda_s_shape() -> None:
    """An exception is told by message, type, request id and a list of stack frames."""
    with pytest.raises(ValueError, match="wrong") as caught:
        int("wrong")
    document = faults.error_document(caught.value, caught.tb, "abc")
    assert document["errorMessage"] == "invalid literal for int() with base 10: 'wrong'"
    assert document["errorType"] == "ValueError"
    assert document["requestId"] == "abc"
    assert "test_error_document" in document["stackTrace"][0]

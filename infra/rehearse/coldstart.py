"""``python -m infra.rehearse.coldstart``: cold start and memory of each function, from its artefact, under Lambda's own client.

awslambdaric is what Lambda's Python runtime runs; the Runtime API that it asks for work is a stand-in of a few lines
(Lambda developer guide, "Using the Lambda runtime API"). Time is the process's CPU time, which others on this machine do not
change, from the interpreter's first instruction until it asks for its first event, and then until that is answered.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

from infra.package.build import BUILD, ROOT, output_of
from infra.package.functions import FUNCTIONS
from infra.package.wheels import HERE, install

_RUNTIME: Final = frozenset({"awslambdaric", "simplejson", "snapshot-restore-py"})
_WITHIN_S: Final = 60
_RUNS: Final = 3
_PAGE_KB: Final = os.sysconf("SC_PAGE_SIZE") // 1024
_TICKS: Final = os.sysconf("SC_CLK_TCK")

# None needs an answer of Redis, DynamoDB or Bedrock: those that speak to Redis find nobody there and say so.
_LEARNER: Final = {"authorizer": {"learner": "ann"}, "connectionId": "c", "connectedAt": 1, "requestTimeEpoch": 1}
_EVENTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "authorize": {"methodArn": "arn:aws:execute-api:us-east-1:1:a/dev/$connect", "headers": {}},
    "connect": {"requestContext": {}},
    "stream": {"requestContext": _LEARNER, "body": "{}"},
    "disconnect": {"requestContext": _LEARNER},
    "relay": {"version": 1, "learner": "ann"},
    "finish": {"Records": []},
}


@dataclass(frozen=True, slots=True)
class Start:
    """One cold start.

    Attributes:
        init_cpu_s: until the function asked for its first event.
        first_cpu_s: for answering it.
        memory_mb: resident after that.
        answer: what it answered with: a result, or an error's type.
    """

    init_cpu_s: float
    first_cpu_s: float
    memory_mb: float
    answer: str


class RuntimeApi(HTTPServer):
    """Hands out one event and notes what the process had used when it asked, and when it had answered."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.event = json.dumps(event).encode()
        self.pid = 0
        self.asked_cpu_s: float | None = None
        self.answered_cpu_s = 0.0
        self.memory_mb = 0.0
        self.answer = ""
        self.done = threading.Event()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: the process is killed while it waits for its next event."""

    def used(self) -> tuple[float, float]:
        """Return the CPU seconds and resident MB of the process."""
        fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        pages = int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1])
        return (int(fields[11]) + int(fields[12])) / _TICKS, pages * _PAGE_KB / 1024


class _Handler(BaseHTTPRequestHandler):
    server: RuntimeApi
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """The next event: the first time at once, then never."""
        api = self.server
        if api.asked_cpu_s is not None:
            api.done.set()
            return
        api.asked_cpu_s = api.used()[0]
        self.send_response(200)
        for name, value in {
            "Lambda-Runtime-Aws-Request-Id": "00000000-0000-4000-8000-000000000001",
            "Lambda-Runtime-Deadline-Ms": "9999999999999",
            "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:us-east-1:1:function:f",
            "Content-Type": "application/json",
            "Content-Length": str(len(api.event)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(api.event)

    def do_POST(self) -> None:
        """A result, or an error."""
        api = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        api.answered_cpu_s, api.memory_mb = api.used()
        api.answer = "answered" if self.path.endswith("/response") else str(json.loads(body).get("errorMessage"))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        api.done.set()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def start(function: str, artefacts: Path, runtime: Path, environment: Mapping[str, str]) -> Start:
    """Start a function from its artefact, give it one event, and end it.

    Raises:
        TimeoutError: it never asked or never answered.
    """
    task = artefacts / function
    api = RuntimeApi(_EVENTS[function])
    serving = threading.Thread(target=api.serve_forever, daemon=True)
    process = subprocess.Popen(
        [sys.executable, "-S", "-m", "awslambdaric", f"{FUNCTIONS[function].handler}.handler"],
        cwd=task,
        env={
            **environment,
            "PATH": os.environ.get("PATH", ""),
            "PYTHONPATH": f"{task}{os.pathsep}{runtime}",
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{api.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": f"maya-dev-{function}",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            "AWS_LAMBDA_LOG_GROUP_NAME": "-",
            "AWS_LAMBDA_LOG_STREAM_NAME": "-",
            "AWS_REGION": "us-east-1",
            "LAMBDA_TASK_ROOT": str(task),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    api.pid = process.pid
    serving.start()
    try:
        if not api.done.wait(_WITHIN_S) or api.asked_cpu_s is None:
            raise TimeoutError(f"{function} did not start from its artefact")
    finally:
        process.kill()
        process.wait()
        api.shutdown()
        api.server_close()
    return Start(api.asked_cpu_s, api.answered_cpu_s - api.asked_cpu_s, api.memory_mb, api.answer)


def settings_of(template: Mapping[str, Any]) -> dict[str, tuple[int, dict[str, str]]]:
    """Return each function's memory in MB and its variables, with values of the right form, from the compiled template."""
    found = {}
    for name in FUNCTIONS:
        properties = template["Resources"][f"{name.capitalize()}LambdaFunction"]["Properties"]
        variables = {
            key: value
            if isinstance(value, str)
            else "redis://u:p@127.0.0.1:9/0"
            if key == "REDIS_URL"
            else "https://127.0.0.1:9"
            for key, value in properties.get("Environment", {}).get("Variables", {}).items()
        }
        found[name] = int(properties["MemorySize"]), variables
    return found


def main() -> int:
    """Measure every function and print a table."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.rehearse.coldstart", description="Cold starts from artefacts"
    )
    parser.add_argument("template", type=Path, help="a compiled template")
    options = parser.parse_args()
    settings = settings_of(json.loads(options.template.read_text(encoding="utf-8")))
    runtime = BUILD / "rehearse" / "runtime"
    requirements = ROOT / "infra" / "rehearse" / "requirements.txt"
    install(Path(sys.executable).with_name("uv"), requirements, _RUNTIME, machine=HERE, into=runtime)
    print(f"function      memory    init CPU    first event    resident   first answer   ({HERE}, best of three)")
    for name, (memory_mb, variables) in settings.items():
        runs = [start(name, output_of(HERE), runtime, variables) for _ in range(_RUNS)]
        best = min(runs, key=lambda run: run.init_cpu_s)
        print(
            f"{name:<12}{memory_mb:5d} MB{best.init_cpu_s:10.2f} s{best.first_cpu_s:13.3f} s{best.memory_mb:9.0f} MB   {best.answer}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Which calls of AWS a handler can come to, read from the code.

From the handler's function on, every function, method and class whose name is used is looked into, in all modules that the
handler may import. Names are not resolved to types, so too much may be reached, never too little.
"""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from infra.package.build import ROOT
from infra.package.functions import FUNCTIONS
from infra.package.sources import reached

ACTIONS: Final[dict[str, frozenset[str]]] = {
    "get_item": frozenset({"dynamodb:GetItem"}),
    "put_item": frozenset({"dynamodb:PutItem"}),
    "update_item": frozenset({"dynamodb:UpdateItem"}),
    "delete_item": frozenset({"dynamodb:DeleteItem"}),
    "query": frozenset({"dynamodb:Query"}),
    # A transaction is allowed by what it consists of (DynamoDB developer guide, "IAM for transactions"): Put and Update here.
    "transact_write_items": frozenset({"dynamodb:PutItem", "dynamodb:UpdateItem"}),
    "send_message": frozenset({"sqs:SendMessage"}),
    "invoke": frozenset({"lambda:InvokeFunction"}),
    "post_to_connection": frozenset({"execute-api:ManageConnections"}),
    "delete_connection": frozenset({"execute-api:ManageConnections"}),
    "converse": frozenset({"bedrock:InvokeModel"}),
    # The API reference asks for the first; the second is what many grant for it. Both, until an account has shown.
    "invoke_model_with_bidirectional_stream": frozenset(
        {"bedrock:InvokeModel", "bedrock:InvokeModelWithBidirectionalStream"}
    ),
    "get_model_invocation_logging_configuration": frozenset({"bedrock:GetModelInvocationLoggingConfiguration"}),
}
"""What a call of an SDK needs, by the name of its method."""

_HAND_ON: Final = ("partial", "to_thread", "run_in_executor", "submit")


@functools.cache
def actions_of(function: str, root: Path = ROOT) -> frozenset[str]:
    """Return the IAM actions that the code of a function needs."""
    called = {name for body in _reached(function, root)[1] for name in _called(body)}
    return frozenset[str]().union(*(ACTIONS[name] for name in called & ACTIONS.keys()))


def names_used(function: str, root: Path = ROOT) -> frozenset[str]:
    """Return every name that code which a function can come to uses."""
    return _reached(function, root)[0]


@functools.cache
def _reached(function: str, root: Path) -> tuple[frozenset[str], tuple[ast.AST, ...]]:
    """Return the names used from the handler on, and the code that uses them."""
    described = FUNCTIONS[function]
    trees = {
        module: ast.parse(file.read_text(encoding="utf-8"))
        for module, file in reached(root, described.handler, without=described.without).items()
    }
    bodies: dict[str, list[ast.AST]] = {}
    for tree in trees.values():
        for name, body in _definitions(tree):
            bodies.setdefault(name, []).append(body)
    used: set[str] = set()
    looked_into: list[ast.AST] = []
    left = {"handler"}
    while left:
        name = left.pop()
        used.add(name)
        for body in bodies.get(name, ()):
            looked_into.append(body)
            left |= _names(body) - used
    return frozenset(used), tuple(looked_into)


def _definitions(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Yield functions and methods by name, and under a class's name what runs without being named."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for item in node.body:
                if not isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) or (
                    isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)) and item.name.startswith("__")
                ):
                    yield node.name, item
    for item in tree.body:
        if isinstance(item, (ast.Assign, ast.AnnAssign)):
            targets = item.targets if isinstance(item, ast.Assign) else [item.target]
            for target in targets:
                if isinstance(target, ast.Name):
                    yield target.id, item


def _names(body: ast.AST) -> set[str]:
    names = {node.id for node in ast.walk(body) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(body) if isinstance(node, ast.Attribute)}


def _called(body: ast.AST) -> Iterator[str]:
    """Yield the names of methods that are called, or handed to another call to be called there."""
    for node in ast.walk(body):
        if isinstance(node, ast.Call):
            handed_on = node.args if ast.unparse(node.func).endswith(_HAND_ON) else []
            yield from (part.attr for part in (node.func, *handed_on) if isinstance(part, ast.Attribute))

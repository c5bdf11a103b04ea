"""Which modules of ours a handler reaches, read from their import statements."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_OURS: Final = ("gateway", "handlers")


def reached(root: Path, module: str, *, without: frozenset[str] = frozenset(), lazily: bool = True) -> dict[str, Path]:
    """Return the files of all modules of ours that importing `module` may ever import, its packages included.

    Args:
        root: the repository.
        module: where to begin, by its dotted name.
        without: packages and modules that are left out.
        lazily: whether imports within functions count; without them, what importing the module imports at once.
    """
    found: dict[str, Path] = {}
    left = [module]
    while left:
        name = left.pop()
        file = _file(root, name)
        if name in found or file is None or any(_within(name, other) for other in without):
            continue
        found[name] = file
        left += [parent for parent in [name.rpartition(".")[0]] if parent]
        left += [other for other in imports(file, lazily=lazily) if other.partition(".")[0] in _OURS]
    return found


def imports(file: Path, *, lazily: bool = True) -> set[str]:
    """Return the dotted names that a file's import statements name, with and without their last part.

    Imports for type checkers alone are left out; those within functions count if `lazily`.
    """
    found: set[str] = set()
    for node in _statements(ast.parse(file.read_text(encoding="utf-8")), lazily=lazily):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _statements(node: ast.AST, *, lazily: bool) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        if not lazily and isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        yield child
        yield from _statements(child, lazily=lazily)


def _file(root: Path, module: str) -> Path | None:
    path = root.joinpath(*module.split("."))
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return file
    return None


def _within(module: str, other: str) -> bool:
    return module == other or module.startswith(other + ".")

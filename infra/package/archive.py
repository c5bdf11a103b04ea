"""A folder made into the zip that Lambda takes: compiled, and the same bytes whenever the same is packed."""

import compileall
import stat
import sys
import zipfile
from pathlib import Path
from py_compile import PycInvalidationMode
from typing import Final

_TASK_ROOT: Final = "/var/task"
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_LEVEL: Final = 9


def compile_all(folder: Path, *, beside: bool = False) -> None:
    """Byte-compile every module, never to be checked against its source again.

    A zip's files all have one time, so what is checked by time would be compiled anew at each cold start.

    Args:
        folder: where the modules are.
        beside: put compiled files where sources are, so that they run without them.

    Raises:
        SyntaxError: a module is none.
    """
    done = compileall.compile_dir(
        folder,
        quiet=2,
        force=True,
        legacy=beside,
        stripdir=str(folder),
        prependdir=_TASK_ROOT,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        workers=1,
    )
    if not done:
        raise SyntaxError(f"a module in {folder.name} cannot be compiled for Python {sys.version_info[:2]}")


def pack(folder: Path, archive: Path) -> None:
    """Write a folder's files into a zip; order, times and modes are fixed."""
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as opened:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(folder).as_posix(), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # Unix, wherever it is packed
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            opened.writestr(entry, file.read_bytes(), compresslevel=_LEVEL)

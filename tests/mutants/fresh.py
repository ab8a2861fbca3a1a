"""One mutant in force from the first import on: slower, for what `warm.py` cannot judge."""

import importlib
import importlib.machinery
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import CodeType
from typing import Final

import pytest

from tests.mutants.warm import SameExamples, be_quiet, ends_well, limit, patience, pytest_options

_HEAVY: Final = ("sqlalchemy.orm", "boto3", "alembic.command", "cryptography.x509", "grpc")


def import_what_all_need() -> None:
    """Import libraries whose import takes long, for all forks of this process."""
    for name in _HEAVY:
        importlib.import_module(name)


def notices(path: Path, source: str, tests: Sequence[Path], seconds: float) -> bool:
    """Run tests in a process where a file has another source; tell whether one fails, or all take much longer than that."""
    folder = tempfile.mkdtemp(prefix="stead-mutants-")
    child = os.fork()
    if child == 0:
        status = 2
        try:
            limit(seconds)
            be_quiet()
            status = _run(path, source, [*pytest_options(folder), *map(str, tests)])
        finally:
            os._exit(status)
    try:
        return not ends_well(child, patience(seconds))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(path: Path, source: str, arguments: list[str]) -> int:
    plain = importlib.machinery.SourceFileLoader.get_code

    def get_code(loader: importlib.machinery.SourceFileLoader, name: str) -> CodeType | None:
        if loader.get_filename(name) == str(path):
            return compile(source, str(path), "exec", dont_inherit=True)
        return plain(loader, name)

    importlib.machinery.SourceFileLoader.get_code = get_code  # type: ignore[method-assign, assignment]  # in this process only
    return int(pytest.main(arguments, plugins=[SameExamples()]))

"""What the one interpreter in which Mitogen runs Ansible's modules would do again for each of them, done once.

Python runs a file of this name, in a folder of PYTHONPATH, when it starts. For each module botocore would read EC2's 2 MB,
and Mitogen compile what modules import: most of the time of a task. The modules are unchanged, and what they ask is.
"""

import builtins
import gc
import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

_BOTOCORE: Final = "botocore.client"
_compile: Any = builtins.compile
_compiled: dict[tuple[object, ...], Any] = {}


def _compile_once(*arguments: Any, **named: Any) -> Any:
    """Compile bytes that have not been compiled; running code never changes it."""
    if named or not isinstance(arguments[0], bytes):
        return _compile(*arguments, **named)
    if arguments not in _compiled:
        _compiled[arguments] = _compile(*arguments)
    return _compiled[arguments]


class _WhenLoaded(MetaPathFinder, Loader):
    """A finder that has botocore's models shared as soon as somebody loads what makes its clients."""

    def find_spec(self, name: str, _path: Sequence[str] | None, _target: ModuleType | None = None) -> ModuleSpec | None:
        """Load it, and give what is loaded already."""
        if name != _BOTOCORE:
            return None
        sys.meta_path.remove(self)
        sys.path.append(str(Path(__file__).parents[3]))
        importlib.import_module("tests.support.shared_models").share_among_clients()
        sys.path.pop()
        return ModuleSpec(name, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Give the module that was loaded meanwhile."""
        return sys.modules[spec.name]

    def exec_module(self, _module: ModuleType) -> None:
        """Do nothing: it has run."""


gc.disable()  # each task is a fork of few seconds, in which looking for garbage copies what is shared
setattr(builtins, "compile", _compile_once)  # noqa: B010 - mypy knows that it is a function
sys.meta_path.insert(0, _WhenLoaded())

"""pyroute2's sockets of routing netlink alone: its package would first load those of all other kinds, 5 MiB.

The package is put in place without what it has; whoever asks it for any of that later gets it, and all the rest.
"""

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

_NAME: Final = "pyroute2"
_TESTS: Final = "unittest"


def _load_little() -> None:
    """Let modules of the package be imported without the package's own, unless it is loaded already."""
    spec = importlib.util.find_spec(_NAME)
    if _NAME in sys.modules or spec is None or spec.loader is None:
        return
    loader, package = spec.loader, importlib.util.module_from_spec(spec)

    def load_rest(name: str) -> Any:
        """Called for what the package does not have (PEP 562)."""
        if importlib.util.find_spec(f"{_NAME}.{name}") is not None:
            raise AttributeError(name)  # the import of a module of it goes on
        del package.__getattr__
        loader.exec_module(package)
        return getattr(package, name)

    package.__getattr__ = load_rest  # type: ignore[method-assign]  # as PEP 562 has it
    sys.modules[_NAME] = package


class _Mute:
    """Stands for the queue of a kind of socket that is not used here, and which has none."""

    def __getattr__(self, name: str) -> "_Mute":
        return self

    def __call__(self, *_args: Any, **_options: Any) -> "_Mute":
        return self


@contextlib.contextmanager
def _without_tests() -> Iterator[None]:
    """Spare this process `unittest`, 1 MiB with what that loads, of which one module there makes one object."""
    if _TESTS in sys.modules:
        yield
        return
    package, mock = ModuleType(_TESTS), ModuleType(f"{_TESTS}.mock")
    package.__dict__.update(__path__=[], mock=mock)
    mock.__dict__.update(Mock=_Mute)
    sys.modules |= {package.__name__: package, mock.__name__: mock}
    try:
        yield
    finally:
        del sys.modules[package.__name__], sys.modules[mock.__name__]


_load_little()

with _without_tests():
    from pyroute2.iproute import IPRoute
from pyroute2.netlink.exceptions import NetlinkError  # noqa: E402 - after the package is in place

__all__ = ["IPRoute", "NetlinkError"]

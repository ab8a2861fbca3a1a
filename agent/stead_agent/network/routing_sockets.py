"""pyroute2's sockets of routing netlink alone: its package would first load those of all other kinds, 5 MiB.

The package is put in place without what it has; whoever asks it for any of that later gets it, and all the rest.
"""

import importlib.util
import sys
from typing import Any, Final

_NAME: Final = "pyroute2"


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


_load_little()

from pyroute2.iproute import IPRoute  # noqa: E402 - after the package is in place
from pyroute2.netlink.exceptions import NetlinkError  # noqa: E402 - the same

__all__ = ["IPRoute", "NetlinkError"]

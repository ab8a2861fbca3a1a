"""Modules that are loaded when something of them is first used, and not when they are imported."""

import importlib.util
import sys


def load_when_used(name: str) -> None:
    """Let imports of a module of some package give one that is empty until an attribute of it is used.

    Has no effect on a module that is loaded already, or is not there (importlib.util.LazyLoader).
    """
    spec = importlib.util.find_spec(name)
    if name in sys.modules or spec is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    package, _, last = name.rpartition(".")
    setattr(sys.modules[package], last, module)

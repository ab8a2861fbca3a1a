"""Secrets are compared in constant time."""

import ast
import re

from tests.house.checkout import ROOT, complain, name_of, python_files, tree_of

_SECRET = re.compile(
    r"(?:^|_)(?:secret|secret_key|secret_access_key|signature|session_token|password|passphrase|mac_key)\Z"
)
_PACKAGES = ("controller", "agent", "proto", "cli")


def _secrets_in(node: ast.expr) -> list[str]:
    """The names of secrets whose value takes part; a call, as of `len`, makes something else of it."""
    if isinstance(node, ast.Name):
        return [node.id] if _SECRET.search(node.id) else []
    if isinstance(node, ast.Attribute):
        return [node.attr] if _SECRET.search(node.attr) else []
    return []


def _is_empty(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and not node.value


def test_secrets_are_compared_in_constant_time() -> None:
    offences = []
    for path in python_files():
        if path.relative_to(ROOT).parts[0] not in _PACKAGES:
            continue
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.Compare) or not any(isinstance(one, ast.Eq | ast.NotEq) for one in node.ops):
                continue
            sides = [node.left, *node.comparators]
            if not any(map(_is_empty, sides)) and any(_secrets_in(side) for side in sides):
                offences.append(f"{name_of(path)}:{node.lineno}: {ast.unparse(node)}")
    complain(
        "Use hmac.compare_digest: `==` stops at the first wrong byte, and how long it took can be measured:", offences
    )

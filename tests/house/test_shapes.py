"""EC2's shapes are written at the wire and nowhere else."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.house.checkout import ROOT, complain, name_of, nodes_of, python_files

_CONTROLLER = ROOT / "controller" / "stead_controller"
_TYPED = ("resources", "hosts", "desired", "request", "catalog")
_SHAPE = re.compile(r"[A-Z][a-z0-9]+(?:[A-Z][A-Za-z0-9]*)?\Z")

# Files that read or write such keys for another reason: what is stored or given under these names is data.
DATA: dict[str, str] = {
    "resources/data_exports/charges.py": "files of costs have FOCUS's columns",
    "hosts/link.py": "gRPC's methods are named so in stead_proto",
    "resources/scaling/group_notices.py": "what groups publish is JSON under Auto Scaling's names",
    "resources/scaling/hook_notices.py": "what lifecycle hooks publish is JSON under Auto Scaling's names",
    "resources/metrics/alarm_notices.py": "what alarms publish is JSON under CloudWatch's names",
    "resources/iam/bound_principals.py": "policies are JSON: their statements name principals",
    "resources/iam/password_policies.py": "the rules of a password policy are stored as JSON under IAM's names",
}


def test_answers_are_made_at_the_wire() -> None:
    offences = []
    seen = set()
    for path in _files():
        lines = sorted(set(_keys(path)))
        name = path.relative_to(_CONTROLLER).as_posix()
        if lines and name in DATA:
            seen.add(name)
        elif lines:
            offences.append(f"{name_of(path)}: lines {', '.join(map(str, lines))}")
    complain("Keys of an answer are written in aws/…_view.py; give it typed values:", offences)
    complain("These write none any more, take them out of DATA:", sorted(DATA.keys() - seen))


def _files() -> Iterator[Path]:
    return (path for path in python_files() if any(path.is_relative_to(_CONTROLLER / room) for room in _TYPED))


def _keys(path: Path) -> Iterator[int]:
    """The lines where a dict gets or is asked for a key in PascalCase."""
    for node in nodes_of(path):
        keys = node.keys if isinstance(node, ast.Dict) else [node.slice] if isinstance(node, ast.Subscript) else []
        for key in keys:
            if isinstance(key, ast.Constant) and isinstance(key.value, str) and _SHAPE.match(key.value):
                yield key.lineno

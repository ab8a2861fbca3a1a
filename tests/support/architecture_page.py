"""Draw the diagrams of docs/architecture.md from the imports: `python -m tests.support.architecture_page`."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import grimp

PAGE: Final = Path(__file__).parents[2] / "docs" / "architecture.md"
# Packages that nearly all others import; an arrow to each of them would hide the rest.
_EVERYWHERE: Final = {
    "stead_controller": frozenset({"errors", "settings", "clock", "logs", "names", "room", "__main__"}),
    "stead_controller.resources": frozenset({"tags", "quotas"}),
    "stead_agent": frozenset({"logs", "settings", "heap", "findings", "named_locks", "__main__"}),
}


def write(page: str) -> str:
    """Return a page with its diagrams redrawn, each between the marks that name its package."""
    for package, left_out in _EVERYWHERE.items():
        diagram = "\n".join(["```mermaid", "flowchart TD", *_arrows(package, left_out), "```"])
        begin, end = f"<!-- imports of {package} -->", "<!-- end -->"
        pattern = rf"{re.escape(begin)}\n.*?{re.escape(end)}"
        page = re.sub(pattern, f"{begin}\n{diagram}\n{end}", page, flags=re.DOTALL)
    return page


def _arrows(package: str, left_out: frozenset[str]) -> Iterable[str]:
    """List which module imports which, leaving out arrows that follow from others."""
    graph = grimp.build_graph(package.partition(".")[0], cache_dir=None)
    depth = package.count(".") + 1
    direct: dict[str, set[str]] = {}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            names = [_room(one, package, depth) for one in (module, imported)]
            if names[0] and names[1] and names[0] != names[1] and not left_out & set(names):
                direct.setdefault(names[0], set()).add(names[1])
    for room in sorted(direct):
        for other in sorted(direct[room]):
            if not any(other in _reached(direct, between) for between in direct[room] - {other}):
                yield f"    {room} --> {other}"


def _room(module: str, package: str, depth: int) -> str:
    return module.split(".")[depth] if module.startswith(f"{package}.") else ""


def _reached(direct: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    ahead = [start]
    while ahead:
        for other in direct.get(ahead.pop(), ()):
            if other not in found:
                found.add(other)
                ahead.append(other)
    return found


if __name__ == "__main__":
    PAGE.write_text(write(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

"""Write docs/operations.md from the tables of operations: `python -m tests.support.operations_page`."""

import textwrap
from pathlib import Path
from typing import Final

from stead_controller.aws import operations, unbuilt
from stead_controller.aws.call import OPERATIONS
from stead_controller.aws.protocol.models import load_service

PAGE: Final = Path(__file__).parents[2] / "docs" / "operations.md"
_HEAD: Final = """\
# Operations

Written by `python -m tests.support.operations_page` from the tables of operations and the models of botocore; do not
edit. S3 is in `controller/stead_controller/object_store/operations.py`.

- **Built** does what AWS documents, or refuses by name what it does not do.
- **Empty** is answered with an empty list, or with NotFound for an id, since nobody can have such a resource here.
- **Refused** is answered with UnsupportedOperation, and changes nothing.
"""


def write() -> str:
    """Write the page."""
    operations.load()
    names = sorted({service for service, _ in OPERATIONS})
    rows = ["| service | built | empty | refused |", "|---|---|---|---|"]
    sections = []
    for service in names:
        built, empty, refused = _sorts(service)
        rows.append(f"| {service} | {len(built)} | {len(empty)} | {len(refused)} |")
        sections.append(f"## {service}\n\n" + "\n".join(_parts(service, built, empty, refused)))
    return "\n".join([_HEAD, *rows, "", *sections]).rstrip() + "\n"


def _sorts(service: str) -> tuple[list[str], list[str], list[str]]:
    known = {name for of, name in OPERATIONS if of == service}
    empty = {name for name in known if service == "ec2" and name in unbuilt.ABSENT}
    return sorted(known - empty), sorted(empty), sorted(load_service(service).operation_names - known)


def _parts(service: str, built: list[str], empty: list[str], refused: list[str]) -> list[str]:
    reasons = unbuilt.REFUSED if service == "ec2" else {}
    parts = [_paragraph("Built", built), _paragraph("Empty", empty)]
    parts.append(_paragraph("Refused", [name for name in refused if name not in reasons]))
    if reasons:
        lines = "\n".join(f"- {name}: {reasons[name]}" for name in refused if name in reasons)
        parts.append(f"Refused, since an empty answer would be false:\n\n{lines}\n")
    return [part for part in parts if part]


def _paragraph(title: str, names: list[str]) -> str:
    text = f"**{title}**: {', '.join(names)}."
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False) + "\n" if names else ""


if __name__ == "__main__":
    PAGE.write_text(write(), encoding="utf-8")

"""The instance types that are there without an operator's doing: those of the files in `families/`."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Final

from stead_controller.catalog.instance_type import InstanceType
from stead_controller.catalog.instance_type_document import BadDocumentError, read_family

FAMILIES: Final = Path(__file__).with_name("families")
"""The folder with a file for each family."""


def load(folder: Path) -> Iterator[InstanceType]:
    """Read the types of a folder's files; raises BadDocumentError with file and place."""
    for path in sorted(folder.glob("*.toml")):
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise BadDocumentError(f"{path.name}: {error}") from error
        if document.get("family") != path.stem:
            raise BadDocumentError(f"{path.name}: family must be {path.stem!r}, as the file is called")
        yield from read_family(path.name, document)


def find(name: str) -> InstanceType | None:
    """The type of that exact name, if there is one."""
    return ALL.get(name)


ALL: Final = MappingProxyType({found.name: found for found in load(FAMILIES)})
"""Every type by its name."""

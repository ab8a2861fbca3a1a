"""A bucket's address and access key: apart from the client, which takes a quarter of a second to load."""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class Bucket:
    """The bucket in which blocks are stored; an empty endpoint is Amazon's own.

    `ca_file` has the authority of the endpoint's certificate; without it those that browsers trust are.
    """

    name: str
    endpoint: str = ""
    region: str = "us-east-1"
    prefix: str = "stead/"
    ca_file: Path | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """An access key of the endpoint."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def from_file(cls, path: Path) -> Self:
        """Read a file of two lines, the id and the secret; raises PermissionError when other users can read it."""
        with path.open("rb") as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise PermissionError(f"{path} can be read by others: chmod 600 {path}")
            lines = file.read().decode("ascii").split()
        if len(lines) != 2:
            raise ValueError(f"{path} must have two lines: the id of an access key and its secret")
        return cls(*lines)

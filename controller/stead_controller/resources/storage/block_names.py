"""Names of copies of blocks. Pure."""

import re
import secrets
from dataclasses import dataclass
from typing import Final, Self

_COPY_BYTES: Final = 6
_PATH: Final = re.compile(r"([0-9a-f]{2})/([0-9a-f]{2})/([0-9a-f]{64})\.([0-9a-f]{12})\Z")


@dataclass(frozen=True, slots=True)
class BlockName:
    """The name of one copy of a block."""

    digest: bytes
    copy: str

    @classmethod
    def new(cls, digest: bytes) -> Self:
        """Return a name that no copy of this block has had."""
        return cls(digest, secrets.token_hex(_COPY_BYTES))

    @property
    def path(self) -> str:
        """Its path relative to the store: `ab/cd/abcd….0123456789ab`."""
        digits = self.digest.hex()
        return f"{digits[:2]}/{digits[2:4]}/{digits}.{self.copy}"

    @classmethod
    def of_path(cls, path: str) -> Self | None:
        """Return the name that belongs to a path; None if the path is not one."""
        found = _PATH.match(path)
        if found is None or not found[3].startswith(found[1] + found[2]):
            return None
        return cls(bytes.fromhex(found[3]), found[4])

"""The policies that come with Stead under AWS's names and ARNs, each a JSON file here, written for what Stead supports.

`arn:aws:iam::aws:policy/ReadOnlyAccess` is `ReadOnlyAccess.json`: its path, what it is for, and its document.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from importlib import resources
from typing import Final

CREATED: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The creation date that they are shown with."""

_PREFIX: Final = "arn:aws:iam::aws:policy"
_ID_DIGITS: Final = 17


@dataclass(frozen=True, slots=True)
class AwsPolicy:
    """One managed policy of AWS; `document` is JSON text, `id` an `ANPA…` that is the same in every cloud."""

    id: str
    name: str
    path: str
    description: str
    document: str

    @property
    def arn(self) -> str:
        """Its ARN, which belongs to no account."""
        return f"{_PREFIX}{self.path}{self.name}"


@cache
def all_policies() -> dict[str, AwsPolicy]:
    """All of them by ARN, sorted by name; read at the first use."""
    files = sorted(
        (entry for entry in resources.files(__name__).iterdir() if entry.name.endswith(".json")),
        key=lambda entry: entry.name.lower(),
    )
    found = [_read(entry.name.removesuffix(".json"), entry.read_text(encoding="utf-8")) for entry in files]
    return {policy.arn: policy for policy in found}


def _read(name: str, text: str) -> AwsPolicy:
    content = json.loads(text)
    digest = hashlib.sha256(f"{content['path']}{name}".encode()).digest()
    return AwsPolicy(
        id="ANPA" + base64.b32encode(digest).decode()[:_ID_DIGITS],
        name=name,
        path=content["path"],
        description=content["description"],
        document=json.dumps(content["document"], separators=(",", ":")),
    )

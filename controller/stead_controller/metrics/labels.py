"""How a metric is named in the engine: each identity as labels, and back.

Labels are names that each Prometheus-compatible engine takes: dimensions begin with `d_`, and what is neither letter
nor digit in their names is written as `_` and two hexadecimal digits of each byte of UTF-8. The label `id` is a hash of
the identity: a query names many metrics by it, each by 16 characters.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from stead_controller.metrics.datum import Identity

NAME: Final = "cloudwatch"
"""The name that all series have in the engine."""

ID_LENGTH: Final = 16
"""Characters of a metric's `id`."""

_MOST_NAMES: Final = 1024  # of dimensions, whose labels are remembered
_DIMENSION: Final = "d_"
_PLAIN: Final = re.compile(r"[a-zA-Z0-9]+")
_OTHER: Final = re.compile(r"[^a-zA-Z0-9]")
_WRITTEN: Final = re.compile(r"(?:_[0-9a-f]{2})+")


def id_of(identity: Identity) -> str:
    """Return the hash that names a metric in queries: 16 characters of 96 bits."""
    parts = [identity.account, identity.namespace, identity.name]
    for name, value in identity.dimensions:
        parts += name, value
    digest = hashlib.blake2b("\0".join(parts).encode(), digest_size=12).digest()
    return base64.urlsafe_b64encode(digest).decode("ascii")


def labels_of(identity: Identity, unit: str, kind: str, source: str = "") -> list[tuple[str, str]]:
    """Return the labels of one series of a metric, sorted by name as the protocol wants them."""
    dimensions = [(dimension_label(name), value) for name, value in identity.dimensions]
    if len(dimensions) > 1:
        dimensions.sort()
    return [
        ("__name__", NAME),
        ("account", identity.account),
        *dimensions,  # their names begin with d
        ("id", id_of(identity)),
        ("kind", kind),
        ("metric", identity.name),
        ("namespace", identity.namespace),
        *((("source", source),) if source else ()),
        ("unit", unit),
    ]


def identity_of(labels: Mapping[str, str]) -> Identity:
    """Return the identity that labels were made of."""
    dimensions = sorted(
        (_read(label.removeprefix(_DIMENSION)), value)
        for label, value in labels.items()
        if label.startswith(_DIMENSION)
    )
    return Identity(labels["account"], labels["namespace"], labels["metric"], tuple(dimensions))


@lru_cache(_MOST_NAMES)
def dimension_label(name: str) -> str:
    """Return the label of the dimension of this name."""
    if _PLAIN.fullmatch(name):
        return _DIMENSION + name
    return _DIMENSION + _OTHER.sub(lambda found: "".join(f"_{byte:02x}" for byte in found[0].encode()), name)


def _read(text: str) -> str:
    return _WRITTEN.sub(lambda found: bytes.fromhex(found[0].replace("_", "")).decode(), text)

"""What is true of the whole cloud: its region and zone names, its pools."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cloud:
    """Names and endpoints that answers show; from `settings.py`."""

    region: str
    zones: tuple[str, ...]
    partition: str
    endpoint: str

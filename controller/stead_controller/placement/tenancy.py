"""With whose instances an instance may share its host."""

from dataclasses import dataclass
from typing import Final

DEFAULT: Final = "default"
DEDICATED: Final = "dedicated"
OWN: Final = "own"
HOST: Final = "host"
KINDS: Final = (DEFAULT, DEDICATED, HOST)
"""Those of instances, by EC2's names; `own` is `dedicated` on the hosts that the account has already."""


@dataclass(frozen=True, slots=True)
class Tenancy:
    """Hosts that all accounts share (`default`), those for one account, or its Dedicated Hosts with these ids."""

    kind: str = DEFAULT
    account_id: str = ""
    dedicated_hosts: frozenset[str] = frozenset()


SHARED: Final = Tenancy()

"""What EC2 gives burstable types besides what their families' files say, and the modes in which credits are spent.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/burstable-performance-instances-standard-mode-concepts.html.
T2 is older than the others. Types that an operator adds are as all others, T3 and later.
"""

from typing import Final

from stead_controller.catalog.instance_type import InstanceType

STANDARD: Final = "standard"
UNLIMITED: Final = "unlimited"
MODES: Final = (STANDARD, UNLIMITED)
FAMILIES: Final = ("t2", "t3", "t3a", "t4g")
"""Those of which an account may set the mode of new instances."""
LAUNCHES: Final = 100
"""So many launches and starts of an account in 24 hours are given credits."""
_PER_VCPU: Final = 30
_SAVED_SECONDS: Final = 7 * 24 * 3600


def default_mode(family: str) -> str:
    """Return the mode of new instances of a family, if their account has set none."""
    return STANDARD if family == "t2" else UNLIMITED


def launch_credits(kind: InstanceType) -> int:
    """Return the credits that an instance of a type is given at each start in the mode `standard`."""
    return _PER_VCPU * kind.vcpus if kind.family == "t2" else 0


def saved_seconds(kind: InstanceType) -> int:
    """Return how long a stopped instance of a type keeps its credits."""
    return 0 if kind.family == "t2" else _SAVED_SECONDS

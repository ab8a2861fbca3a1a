"""By which firmware an image wants to boot, and by which its instances do.

See https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-boot.html.
"""

from types import MappingProxyType
from typing import Final

LEGACY_BIOS: Final = "legacy-bios"
UEFI: Final = "uefi"

CURRENT: Final = MappingProxyType({LEGACY_BIOS: LEGACY_BIOS, UEFI: UEFI, "uefi-preferred": UEFI})
"""What an image says, to what its instances boot by: all instance types of its architecture support it."""

OF_ARCHITECTURE: Final = MappingProxyType({"x86_64": (LEGACY_BIOS, UEFI), "arm64": (UEFI,)})
"""By which firmware machines of an architecture may boot; that of an image that says nothing is the first."""

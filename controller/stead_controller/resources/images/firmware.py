"""By which firmware images of an architecture boot."""

from stead_controller.catalog import boot_modes
from stead_controller.errors import InvalidCombination, InvalidParameter


def settle_boot_mode(architecture: str, boot_mode: str) -> str:
    """Return the boot mode of an image of an architecture, if it says none the usual one of the architecture.

    Raises InvalidParameter for unknown ones, InvalidCombination for a boot mode that machines of it have not.
    """
    known = boot_modes.OF_ARCHITECTURE.get(architecture)
    if known is None:
        raise InvalidParameter(
            f"Images for '{architecture}' are not supported: only {' and '.join(boot_modes.OF_ARCHITECTURE)} are."
        )
    if not boot_mode:
        return known[0]
    if boot_mode not in boot_modes.CURRENT:
        raise InvalidParameter(f"Value ({boot_mode}) for parameter bootMode is invalid.")
    if boot_mode == boot_modes.LEGACY_BIOS and boot_mode not in known:
        raise InvalidCombination(f"The boot mode {boot_mode} is not supported with the architecture {architecture}.")
    return boot_mode

"""Reads and writes our record of a machine in its domain's metadata."""

from typing import Any, Final

import libvirt

from stead_agent.machines import life

UNDEFINE_ALL: Final = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
    | libvirt.VIR_DOMAIN_UNDEFINE_TPM
)
"""All that libvirt itself has of a domain, for its end."""

_LIVE_AND_LATER: Final = libvirt.VIR_DOMAIN_AFFECT_LIVE | libvirt.VIR_DOMAIN_AFFECT_CONFIG


def read(domain: Any) -> life.Record | None:
    """Read our record of a domain; None when it is not ours, or just vanished."""
    try:
        text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, life.NAMESPACE, 0)
    except libvirt.libvirtError as error:
        if error.get_error_code() in {libvirt.VIR_ERR_NO_DOMAIN_METADATA, libvirt.VIR_ERR_NO_DOMAIN}:
            return None
        raise
    return life.parse_record(text)


def write(domain: Any, record: life.Record, *, is_active: bool) -> None:
    """Change the record in a domain's persistent configuration, and in its live one if it is active.

    The guest of one that was active may have ended meanwhile.
    """
    kind, text = libvirt.VIR_DOMAIN_METADATA_ELEMENT, record.to_plain_xml()
    if is_active:
        try:
            domain.setMetadata(kind, text, life.PREFIX, life.NAMESPACE, _LIVE_AND_LATER)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID or domain.isActive():
                raise
        else:
            return
    domain.setMetadata(kind, text, life.PREFIX, life.NAMESPACE, libvirt.VIR_DOMAIN_AFFECT_CONFIG)

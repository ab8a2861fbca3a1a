"""The host's PCI devices that guests may have, by VFIO."""

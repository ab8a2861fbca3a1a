"""Disks of this host's guests."""

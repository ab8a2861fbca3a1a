"""Disks of this host's guests and the images they are laid over."""

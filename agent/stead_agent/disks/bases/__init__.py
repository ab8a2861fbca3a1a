"""Snapshots that volumes of this host are laid over, brought from the block store."""

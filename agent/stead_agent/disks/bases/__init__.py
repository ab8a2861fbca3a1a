"""Bases: snapshots below the volumes of this host, fetched from the block store."""

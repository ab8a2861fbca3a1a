"""Takes snapshots of this host's volumes and stores them in the block store."""

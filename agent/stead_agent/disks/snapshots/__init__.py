"""Taking snapshots of this host's volumes and bringing them to the block store."""

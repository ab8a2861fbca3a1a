"""Virtual machines of this host, through libvirt."""

"""The NBD protocol: as client and as server over unix sockets, and what is asked of another host over TLS."""

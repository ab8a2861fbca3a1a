"""The NBD protocol: a client and a server over unix sockets, and queries to another host over TLS."""

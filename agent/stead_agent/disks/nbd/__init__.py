"""A server of the NBD protocol over unix sockets, and queries to another host over TLS; messages are in stead_proto."""

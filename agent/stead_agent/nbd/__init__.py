"""The NBD protocol, as client and as server, over unix sockets."""

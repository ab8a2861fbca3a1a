"""The NBD protocol as both sides need it: its messages as bytes, and a client that reads over unix sockets."""

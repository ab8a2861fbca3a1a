"""Tables of Auto Scaling."""

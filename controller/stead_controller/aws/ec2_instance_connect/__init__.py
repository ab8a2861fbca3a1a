"""EC2 Instance Connect: public keys that instances accept for a minute."""

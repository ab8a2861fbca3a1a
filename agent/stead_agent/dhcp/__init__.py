"""Addresses and names for the guests of this host: one dnsmasq per VPC."""

"""The data plane's rules: everything that netfilter holds, from anti-spoofing to security groups and NAT."""

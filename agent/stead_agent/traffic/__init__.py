"""Traffic: which bytes guests and NAT gateways sent where, each counted once."""

"""VPC endpoints: guests' connections to a service are relayed to a controller."""

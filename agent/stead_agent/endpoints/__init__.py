"""VPC endpoints: what guests say to a service is carried to a controller."""

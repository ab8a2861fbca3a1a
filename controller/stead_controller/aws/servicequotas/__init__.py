"""Service Quotas: the limits of an account's resources."""

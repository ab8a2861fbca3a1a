"""CloudTrail records: what a request and its answer become in the audit log."""

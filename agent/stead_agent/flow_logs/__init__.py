"""Flow logs: what interfaces sent and received, as EC2's records, in files."""

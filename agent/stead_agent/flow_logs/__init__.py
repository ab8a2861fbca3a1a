"""Flow logs: what interfaces sent and got, in EC2's records, in files."""

"""The EBS direct APIs: snapshots read, compared and written block by block."""

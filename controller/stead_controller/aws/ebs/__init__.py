"""The EBS direct APIs: reading, comparing and writing snapshots block by block."""

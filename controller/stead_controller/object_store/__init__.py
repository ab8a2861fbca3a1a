"""The object store: S3 by Stead's identities, in front of an S3 server that keeps the objects."""

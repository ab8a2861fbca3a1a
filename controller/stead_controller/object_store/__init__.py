"""The object store: S3 with Stead's identities, in front of an S3 server that stores the objects."""

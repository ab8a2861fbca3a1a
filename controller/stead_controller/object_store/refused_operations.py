"""Operations of S3 that Stead lacks: which requests name them, and the permission that each would need.

Pure. Thereby they are refused and recorded by name, after the caller's permissions were checked.
"""

from typing import Final, Literal

type Level = Literal["service", "bucket", "object"]

REFUSED: Final[dict[tuple[str, Level, str], tuple[str, str]]] = {
    ("POST", "bucket", "metadataConfiguration"): (
        "CreateBucketMetadataConfiguration",
        "CreateBucketMetadataTableConfiguration",
    ),
    ("POST", "bucket", "metadataTable"): (
        "CreateBucketMetadataTableConfiguration",
        "CreateBucketMetadataTableConfiguration",
    ),
    ("GET", "bucket", "session"): ("CreateSession", "CreateSession"),
    ("PUT", "bucket", "analytics"): ("PutBucketAnalyticsConfiguration", "PutAnalyticsConfiguration"),
    ("PUT", "bucket", "intelligent-tiering"): (
        "PutBucketIntelligentTieringConfiguration",
        "PutIntelligentTieringConfiguration",
    ),
    ("PUT", "bucket", "inventory"): ("PutBucketInventoryConfiguration", "PutInventoryConfiguration"),
    ("PUT", "bucket", "metrics"): ("PutBucketMetricsConfiguration", "PutMetricsConfiguration"),
    ("PUT", "bucket", "object-lock"): ("PutObjectLockConfiguration", "PutBucketObjectLockConfiguration"),
    ("PUT", "bucket", "replication"): ("PutBucketReplication", "PutReplicationConfiguration"),
    ("PUT", "bucket", "website"): ("PutBucketWebsite", "PutBucketWebsite"),
    ("PUT", "bucket", "metadataAnnotationTable"): (
        "UpdateBucketMetadataAnnotationTableConfiguration",
        "UpdateBucketMetadataAnnotationTableConfiguration",
    ),
    ("PUT", "bucket", "metadataInventoryTable"): (
        "UpdateBucketMetadataInventoryTableConfiguration",
        "UpdateBucketMetadataInventoryTableConfiguration",
    ),
    ("PUT", "bucket", "metadataJournalTable"): (
        "UpdateBucketMetadataJournalTableConfiguration",
        "UpdateBucketMetadataJournalTableConfiguration",
    ),
    ("POST", "bucket", ""): ("PostObject", "PutObject"),
    ("GET", "object", "annotation"): ("GetObjectAnnotation", "GetObjectAnnotation"),
    ("PUT", "object", "annotation"): ("PutObjectAnnotation", "PutObjectAnnotation"),
    ("DELETE", "object", "annotation"): ("DeleteObjectAnnotation", "DeleteObjectAnnotation"),
    ("GET", "object", "torrent"): ("GetObjectTorrent", "GetObjectTorrent"),
    ("PUT", "object", "renameObject"): ("RenameObject", "PutObject"),
    ("POST", "object", "select"): ("SelectObjectContent", "GetObject"),
    ("PUT", "object", "encryption"): ("UpdateObjectEncryption", "UpdateObjectEncryption"),
}

REFUSED_NAMES: Final = frozenset(name for name, _ in REFUSED.values())

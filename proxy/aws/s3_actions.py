"""What IAM calls that which the catalogue's operations of S3 do.

From "Required permissions for Amazon S3 API operations" (S3 User Guide) and the API reference of each. IAM
is coarser than the operations: it has one action for all of a multipart upload, and none for HeadBucket.
Where an API does more for who may do more (an ACL with a PUT, a version in the body of a DeleteObjects), the
right to that is given only by naming the operation that does it alone.
"""

from collections.abc import Mapping
from typing import Final

Actions = Mapping[str, tuple[str, ...]]


def _same(names: str) -> dict[str, tuple[str, ...]]:
    return {f"s3:{name}": (f"s3:{name}",) for name in names.split()}


LIST_BUCKET: Final = "s3:ListBucket"
CREATE_SESSION: Final = "s3express:CreateSession"
# What IAM bounds by the prefix of a listing. It knows no such bound for ListBucketMultipartUploads.
LISTS_BY_PREFIX: Final = frozenset({LIST_BUCKET, "s3:ListBucketVersions"})

ON_OBJECTS: Final[Actions] = {
    **_same(
        "GetObject GetObjectVersion PutObject AbortMultipartUpload ListMultipartUploadParts DeleteObject "
        "DeleteObjectVersion RestoreObject GetObjectLegalHold PutObjectLegalHold "
        "GetObjectRetention PutObjectRetention BypassGovernanceRetention UpdateObjectEncryption "
        "ListObjectAnnotations GetObjectAnnotation PutObjectAnnotation DeleteObjectAnnotation"
    ),
    "s3:GetObjectAcl": ("s3:GetObjectAcl", "s3:GetObjectVersionAcl"),
    "s3:PutObjectAcl": ("s3:PutObjectAcl", "s3:PutObjectVersionAcl"),
    "s3:GetObjectAttributes": (
        "s3:GetObject",
        "s3:GetObjectAttributes",
        "s3:GetObjectVersion",
        "s3:GetObjectVersionAttributes",
    ),
    "s3:GetObjectTagging": ("s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
    "s3:PutObjectTagging": ("s3:PutObjectTagging", "s3:PutObjectVersionTagging"),
    "s3:DeleteObjectTagging": ("s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging"),
    "s3:SelectObjectContent": ("s3:GetObject",),
    "s3:GetObjectTorrent": ("s3:GetObject", "s3:GetObjectTorrent"),
    "s3:CreateMultipartUpload": ("s3:PutObject",),
    "s3:UploadPart": ("s3:PutObject",),
    "s3:CompleteMultipartUpload": ("s3:PutObject",),
    # These two name the bucket, and the objects in their body.
    "s3:PostObject": ("s3:PutObject",),
    "s3:DeleteObjects": ("s3:DeleteObject",),
    # Rights of podkey's own, for headers of a PUT that IAM does not tell apart.
    "s3:UseCustomerKey": (),
    "s3:UseKmsKey": (),
    "s3:SetWebsiteRedirect": (),
}

ON_BUCKETS: Final[Actions] = {
    **_same(
        "ListBucket ListBucketVersions ListBucketMultipartUploads GetBucketLocation CreateBucket "
        "DeleteBucket GetBucketAcl PutBucketAcl GetAccelerateConfiguration "
        "PutAccelerateConfiguration GetAnalyticsConfiguration PutAnalyticsConfiguration GetBucketCORS "
        "PutBucketCORS GetEncryptionConfiguration PutEncryptionConfiguration "
        "GetIntelligentTieringConfiguration PutIntelligentTieringConfiguration "
        "GetInventoryConfiguration PutInventoryConfiguration "
        "GetLifecycleConfiguration PutLifecycleConfiguration GetBucketLogging PutBucketLogging "
        "GetBucketMetadataTableConfiguration UpdateBucketMetadataAnnotationTableConfiguration "
        "UpdateBucketMetadataInventoryTableConfiguration UpdateBucketMetadataJournalTableConfiguration "
        "GetMetricsConfiguration PutMetricsConfiguration "
        "GetBucketNotification PutBucketNotification GetBucketObjectLockConfiguration "
        "PutBucketObjectLockConfiguration GetBucketOwnershipControls PutBucketOwnershipControls "
        "GetBucketPolicy PutBucketPolicy DeleteBucketPolicy GetBucketPolicyStatus GetBucketPublicAccessBlock "
        "PutBucketPublicAccessBlock GetReplicationConfiguration PutReplicationConfiguration "
        "GetBucketRequestPayment PutBucketRequestPayment GetBucketTagging PutBucketTagging "
        "GetBucketVersioning PutBucketVersioning GetBucketWebsite"
    ),
    "s3:HeadBucket": (LIST_BUCKET,),
    "s3:GetBucketAbac": ("s3:GetBucketABAC",),
    "s3:PutBucketAbac": ("s3:PutBucketABAC",),
    # The operation is told by its sub-resource, and IAM has a name of its own for the DELETE.
    "s3:PutBucketWebsite": ("s3:DeleteBucketWebsite", "s3:PutBucketWebsite"),
    "s3:CreateBucketMetadataTableConfiguration": (
        "s3:CreateBucketMetadataTableConfiguration",
        "s3:DeleteBucketMetadataTableConfiguration",
    ),
    # To IAM, directory buckets belong to another service, which knows this one action for all that is done in
    # them; whoever may do anything may have a session (`s3_rights`).
    "s3:CreateSession": (),
}

ON_ACCOUNT: Final[Actions] = _same("ListAllMyBuckets")

KNOWN: Final = frozenset(ON_OBJECTS) | frozenset(ON_BUCKETS) | frozenset(ON_ACCOUNT)

# A session policy bounds every service: without these, an object under a KMS key could not be opened.
KMS_ACTIONS: Final[Actions] = {
    "s3:GetObject": ("kms:Decrypt",),
    "s3:GetObjectVersion": ("kms:Decrypt",),
    # The parts of a multipart upload are opened again when it is completed.
    "s3:PutObject": ("kms:Decrypt", "kms:GenerateDataKey"),
    "s3:UpdateObjectEncryption": ("kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey", "kms:ReEncrypt*"),
    CREATE_SESSION: ("kms:Decrypt", "kms:GenerateDataKey"),
}

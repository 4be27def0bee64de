from proxy.aws.s3_actions import (
    CREATE_SESSION,
    KMS_ACTIONS,
    KNOWN,
    LISTS_BY_PREFIX,
    ON_ACCOUNT,
    ON_BUCKETS,
    ON_OBJECTS,
)
from proxy.core.services import Catalogue

BODY_NAMES_THE_KEYS = {"s3:DeleteObjects", "s3:PostObject"}


def test_every_operation_and_header_action_of_the_catalogue_is_known_and_no_other(
    catalogue: Catalogue,
) -> None:
    assert catalogue["s3"].action_names == KNOWN


def test_an_operation_stands_in_one_table_only() -> None:
    assert len(ON_OBJECTS) + len(ON_BUCKETS) + len(ON_ACCOUNT) == len(KNOWN)


def test_an_operation_is_about_objects_when_its_request_names_a_key(catalogue: Catalogue) -> None:
    for operation in catalogue["s3"].operations:
        names_a_key = "key" in operation.captures or operation.name in BODY_NAMES_THE_KEYS
        assert (operation.name in ON_OBJECTS) == names_a_key, operation.name
        assert (operation.name in ON_ACCOUNT) == (not operation.captures), operation.name


def test_what_is_listed_by_prefix_is_bounded_by_it(catalogue: Catalogue) -> None:
    by_prefix = {o.name for o in catalogue["s3"].operations if o.prefix_from is not None}
    # IAM has no condition on the prefix for uploads in progress.
    assert by_prefix - {"s3:ListBucketMultipartUploads"} == LISTS_BY_PREFIX


def test_what_reads_or_writes_objects_may_use_their_keys() -> None:
    actions = {action for names in ON_OBJECTS.values() for action in names}
    assert KMS_ACTIONS.keys() <= actions | {CREATE_SESSION}

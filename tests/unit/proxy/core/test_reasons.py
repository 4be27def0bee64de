import re

from proxy.core.reasons import NOT_REFUSED, Reason


def test_codes_are_unique_snake_case_and_the_name_in_lower_case() -> None:
    codes = [reason.value for reason in Reason]
    assert len(set(codes)) == len(Reason.__members__) == len(codes)  # an alias would be a member more
    assert [code for code in codes if not re.fullmatch(r"[a-z]+(_[a-z]+)*", code)] == []
    assert codes == [name.lower() for name in Reason.__members__]


def test_what_is_not_refused_is_attached_or_passes_through() -> None:
    hosts = {Reason.UNGOVERNED_HOST, Reason.BLOB_HOST}
    passes = hosts | {Reason.PRESIGNED_ELSEWHERE, Reason.WOULD_ATTACH, Reason.WOULD_REFUSE}
    assert {Reason.GRANTED} | passes == NOT_REFUSED

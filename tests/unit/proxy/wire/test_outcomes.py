from proxy.wire.outcomes import NEED_MORE, BadHead, HeadFault, NeedMore, malformed, too_large


def test_all_need_more_are_one() -> None:
    assert NeedMore() == NEED_MORE


def test_a_bad_head_tells_a_fault_from_a_size() -> None:
    assert malformed("a") == BadHead(HeadFault.MALFORMED, "a")
    assert too_large("a") == BadHead(HeadFault.TOO_LARGE, "a")

from injector.core.documents import RawDocument


def test_a_broken_object_has_a_name_all_the_same() -> None:
    raw = RawDocument("AccessPolicy", "ml", "train")
    assert (raw.kind, raw.namespace, raw.name) == ("AccessPolicy", "ml", "train")
    assert raw.document == {}

from injector.core.intent import Intent, Quantities, Wish


def test_a_pod_without_annotations_asks_for_nothing() -> None:
    intent = Intent()
    assert intent.wish is None
    assert not intent.capture
    assert intent.sidecar == Quantities()
    assert not intent.placeholders_beside_env_from


def test_the_words_of_the_annotation_are_these_three() -> None:
    assert [wish.value for wish in Wish] == ["enabled", "disabled", "observe"]

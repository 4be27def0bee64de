from proxy.core.signing import SigningAlgorithm


def test_no_symmetric_algorithm_and_no_none_can_be_named() -> None:
    assert [algorithm.value for algorithm in SigningAlgorithm] == ["RS256", "ES256"]

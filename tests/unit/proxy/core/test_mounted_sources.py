from proxy.core.mounted_sources import JsonFields, MountedSecret
from proxy.core.parts import Part

PAIR = MountedSecret("db", ((Part.PASSWORD, "pw"), (Part.USERNAME, "user")))


def test_its_parts_are_those_that_its_keys_hold() -> None:
    assert PAIR.parts == {Part.PASSWORD, Part.USERNAME}
    assert MountedSecret("db").parts == frozenset()
    assert MountedSecret("db", json=JsonFields("k", ((Part.TOKEN, ("a", "b")),))).parts == {Part.TOKEN}


def test_it_is_a_value_that_tells_keys_apart() -> None:
    same = MountedSecret("db", ((Part.PASSWORD, "pw"), (Part.USERNAME, "user")))
    assert {PAIR: 1}[same] == 1
    assert MountedSecret("db", ((Part.PASSWORD, "user"), (Part.USERNAME, "pw"))) != PAIR

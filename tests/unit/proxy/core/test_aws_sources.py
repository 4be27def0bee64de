from datetime import timedelta

from proxy.core.aws_sources import AssumedRole, AwsStatic, AwsWebIdentity, SessionPolicy
from proxy.core.credentials import SigV4, needed_parts, optional_parts
from proxy.core.parts import Part

ROLE = "arn:aws:iam::111122223333:role/training"


def test_a_session_has_all_that_sigv4_takes() -> None:
    assert AwsWebIdentity(ROLE, "eu-central-1").parts == needed_parts(SigV4()) | optional_parts(SigV4())


def test_a_session_is_narrowed_to_the_grants_and_lives_an_hour_unless_somebody_says_otherwise() -> None:
    kind = AwsWebIdentity(ROLE, "eu-central-1")
    assert kind.session_policy is SessionPolicy.FROM_GRANTS
    assert kind.duration == AssumedRole(ROLE).duration == timedelta(hours=1)
    assert kind.audience == "sts.amazonaws.com"


def test_the_last_role_is_the_one_whose_credential_goes_out() -> None:
    other = "arn:aws:iam::444455556666:role/data"
    assert AwsWebIdentity(ROLE, "eu-central-1").last_role == ROLE
    assert AwsWebIdentity(ROLE, "eu-central-1", then=AssumedRole(other)).last_role == other


def test_a_static_pair_has_a_session_token_only_where_a_key_is_named_for_it() -> None:
    assert AwsStatic("store").parts == {Part.ACCESS_KEY_ID, Part.SECRET_ACCESS_KEY}
    assert AwsStatic("store", session_token="t").parts == {*AwsStatic("store").parts, Part.SESSION_TOKEN}

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from proxy.core.audit import AUDIT_FIELDS, AUDIT_VERSION, LINE_FIELDS, AuditRecord, Ending, Own, audit_schema
from proxy.core.reasons import Reason
from proxy.edge.audit_trail import MAX_LINE, render_record

RECORD = AuditRecord(
    time=datetime(2026, 3, 4, 12, 0, 0, 1_999, UTC),
    request_id="r1",
    namespace="ml",
    service_account="trainer",
    pod_name="train-0",
    pod_uid="0f3d",
    node="gpu-7",
    evidence="token",
    host="api.openai.com",
    port=443,
    method="GET",
    path="/v1/models",
)
FULL = replace(
    RECORD,
    evidence="token",
    issuer="https://kubernetes.default.svc.cluster.local",
    key_id="key-1",
    token_hash="5e1f" * 16,
    token_expires=datetime(2026, 3, 4, 13, tzinfo=UTC),
    service="openai",
    action="a",
    verdict="attach",
    reason=Reason.GRANTED.value,
    policy="ml/p",
    grant=0,
    credential="ml/a",
    lease_id="l-1",
    static_credential_seen=True,
    status=200,
    sent_bytes=1,
    received_bytes=2,
    redactions=3,
    duration_ms=4.5,
    ending=Ending.CUT,
)
# In every field another one than `FULL`, with what JSON has to write in its own way.
OTHER = AuditRecord(
    **{
        field.name: {
            str: f'another "{field.name}"\n\u2028é',
            bool: not getattr(FULL, field.name),
            int: 8443,
            float: 0.125,
            datetime: datetime(2027, 1, 2, 3, 4, 5, 678_000, UTC),
            Ending: Ending.OPEN,
            int | None: None,
            datetime | None: datetime(2027, 1, 2, tzinfo=UTC),
        }[field.type]
        for field in fields(AuditRecord)
    }
)


def schema() -> dict[str, Any]:
    return audit_schema()


def faults(line: object) -> list[str]:
    validator = Draft202012Validator(schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [fault.message for fault in validator.iter_errors(line)]


def test_a_record_is_json_with_every_documented_field_in_order() -> None:
    record = json.loads(json.dumps(RECORD.to_record()))

    assert list(record) == ["version", *AUDIT_FIELDS]
    assert record["version"] == AUDIT_VERSION


def test_times_and_endings_are_written_as_text() -> None:
    record = FULL.to_record()

    assert record["time"] == "2026-03-04T12:00:00.001+00:00"
    assert (record["tokenIssued"], record["tokenExpires"]) == (None, "2026-03-04T13:00:00.000+00:00")
    assert record["ending"] == "cut"


def test_names_are_written_as_json_writes_them() -> None:
    record = FULL.to_record()

    assert (record["podUid"], record["staticCredentialSeen"], record["leaseId"]) == ("0f3d", True, "l-1")


@pytest.mark.parametrize("name", [field.name for field in fields(AuditRecord)])
@pytest.mark.parametrize("written_before", [False, True])
def test_a_record_that_was_changed_is_written_as_it_is_now(name: str, *, written_before: bool) -> None:
    base = replace(FULL)
    if written_before:
        base.to_json()

    changed = base.changed(**{name: getattr(OTHER, name)})

    assert json.loads(changed.to_json()) == changed.to_record()
    assert changed == replace(FULL, **{name: getattr(OTHER, name)})
    assert json.loads(base.to_json()) == base.to_record()


def test_what_was_written_once_is_written_the_same_again() -> None:
    record = replace(FULL)

    assert record.to_json() == record.to_json() == json.dumps(record.to_record(), separators=(",", ":"))


def test_every_field_is_documented_in_a_sentence_and_no_other() -> None:
    assert len(AUDIT_FIELDS) == len(fields(AuditRecord))
    assert all(text.endswith(".") for text in AUDIT_FIELDS.values())


def test_the_record_has_no_room_for_a_credential() -> None:
    """No field could hold a header, a query or a value; a new field has to be looked at here."""
    assert {field.type for field in fields(AuditRecord)} == {
        *(datetime, str, int, bool, float, Ending),
        *(int | None, datetime | None),
    }
    assert not {"query", "headers", "body", "token", "value", "secret"} & set(AUDIT_FIELDS)


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())
    assert schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(schema())) == schema()


@pytest.mark.parametrize("record", [RECORD, FULL, *(replace(RECORD, ending=ending) for ending in Ending)])
def test_every_record_and_every_line_fits_the_schema(record: AuditRecord) -> None:
    assert faults(record.to_record()) == []
    assert faults(json.loads(render_record(record))) == []


def test_a_line_that_was_cut_fits_the_schema() -> None:
    line = json.loads(render_record(replace(RECORD, path="/" + "x" * MAX_LINE)))

    assert line["truncated"] is True
    assert faults(line) == []
    assert set(line) - set(RECORD.to_record()) == set(LINE_FIELDS)


@pytest.mark.parametrize(
    "change",
    [
        {"tokenIssued": 1790000000},
        {"tokenExpires": False},
        {"tokenHash": None},
        {"retried": "yes"},
        {"query": "a=1"},
        {"version": 2},
        {"port": "443"},
        {"grant": 1.5},
        {"grant": "0"},
        {"ending": "lost"},
        {"staticCredentialSeen": None},
        {"type": "log"},
    ],
)
def test_what_no_record_says_does_not_fit_the_schema(change: dict[str, object]) -> None:
    assert len(faults(FULL.to_record() | change)) == 1


@pytest.mark.parametrize("name", ["version", *AUDIT_FIELDS])
def test_no_field_may_be_missing(name: str) -> None:
    record = FULL.to_record()
    del record[name]

    assert faults(record) == [f"'{name}' is a required property"]


def test_the_record_of_another_that_said_the_same_has_what_is_its_own() -> None:
    own = Own(OTHER.time, "other", "192.0.2.9:443", 206, 1, 2, 3, 4.5, Ending.CUT)

    record = FULL.of(own)

    assert record == replace(FULL, **own._asdict())
    assert FULL.to_json(own) == record.to_json()


NEAR = datetime(2026, 3, 4, 12, 0, 7, tzinfo=UTC)


@given(
    st.lists(
        st.one_of(
            st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=2))])),
            st.sampled_from([
                datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC), NEAR, NEAR,
                NEAR + timedelta(microseconds=999_999), NEAR - timedelta(microseconds=1),
                NEAR + timedelta(seconds=1), NEAR.astimezone(timezone(timedelta(hours=2))),
            ]),
        ),
        max_size=6,
    )
)  # fmt: skip
def test_a_time_is_written_alike_whatever_was_written_before(times: list[datetime]) -> None:
    for time in times:
        assert json.loads(replace(FULL, time=time).to_json())["time"] == time.isoformat(
            timespec="milliseconds"
        )


def test_the_record_of_another_path_is_the_same_but_for_that() -> None:
    FULL.to_json()
    for path in ("/b", '/"\\', "/b"):
        there = FULL.elsewhere(path)
        assert there == replace(FULL, path=path)
        assert json.loads(there.to_json()) == there.to_record()
        changed = there.changed(policy="a/b")
        assert json.loads(changed.to_json()) == changed.to_record()
        assert json.loads(changed.elsewhere("/c").to_json())["policy"] == "a/b"
        later = there.changed(status=404)
        assert json.loads(later.elsewhere("/d").to_json()) == replace(later, path="/d").to_record()
    unwritten = replace(FULL).elsewhere("/e").changed(policy="c/d")
    assert json.loads(unwritten.elsewhere("/f").to_json()) == replace(unwritten, path="/f").to_record()
    assert FULL.changed(host="other").elsewhere("/g").host == "other"

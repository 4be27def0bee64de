import json
from dataclasses import fields
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.audit import AUDIT_FIELDS, AuditRecord, Ending
from proxy.core.structs import replace
from proxy.edge.audit_trail import MAX_FIELD, MAX_LINE, AuditSink, render_record

RECORD = AuditRecord(
    time=datetime(2026, 1, 1, 12, tzinfo=UTC),
    request_id="r1",
    namespace="ml",
    service_account="trainer",
    pod_name="train-0",
    pod_uid="0f3d",
    node="gpu-7",
    evidence="declared",
    host="api.openai.com",
    port=443,
    method="GET",
    path="/v1/models",
)
TEXTS = [field.name for field in fields(AuditRecord) if field.type in {"str", str}]


def test_a_record_is_one_compact_line_that_says_first_what_it_is() -> None:
    lines: list[bytes] = []
    AuditSink(lines.append)(RECORD)

    assert len(lines) == 1
    assert lines[0].startswith(b'{"type":"audit","version":1,"time":"2026-01-01T12:00:00.000+00:00",')
    assert lines[0].endswith(b"}\n")
    assert json.loads(lines[0]) == {"type": "audit", **RECORD.to_record()}


def test_every_documented_field_is_in_it() -> None:
    assert json.loads(render_record(RECORD)).keys() == {"type", "version", *AUDIT_FIELDS}


def test_nothing_in_it_moves_a_cursor_or_begins_a_line() -> None:
    line = render_record(replace(RECORD, method="\x1b[2J", path="/a\u2028\r\n\x85b\x9b"))

    assert line.isascii()
    assert line.count(b"\n") == 1
    assert all(byte >= 0x20 for byte in line[:-1])
    assert json.loads(line)["path"] == "/a\u2028\r\n\x85b\x9b"


def test_a_long_path_is_cut_and_the_rest_is_kept() -> None:
    record = json.loads(render_record(replace(RECORD, path="/" + "a" * MAX_LINE, policy="ml/training")))

    assert record["path"] == "/" + "a" * (MAX_FIELD - 1)
    assert record["policy"] == "ml/training"
    assert record["truncated"] is True


LONG = st.builds(lambda c, number: c * number, st.sampled_from('"\\a'), st.integers(0, 2 * MAX_LINE))


@given(st.dictionaries(st.sampled_from(TEXTS), LONG))
def test_a_line_fits_into_what_container_runtimes_keep_whole(values: dict[str, str]) -> None:
    line = render_record(replace(RECORD, **values))  # type: ignore[arg-type]

    assert len(line) <= MAX_LINE
    assert json.loads(line)["type"] == "audit"


ANY = st.text(st.characters(exclude_categories=()), max_size=20)
VALUES = {
    str: ANY,
    int: st.integers(),
    int | None: st.none() | st.integers(),
    float: st.floats(0, 1e9),
    bool: st.booleans(),
    datetime: st.datetimes(timezones=st.sampled_from((UTC, timezone(timedelta(hours=2))))),
    datetime | None: st.none() | st.datetimes(timezones=st.just(UTC)),
    Ending: st.sampled_from(Ending),
}
RECORDS = st.builds(AuditRecord, **{field.name: VALUES[field.type] for field in fields(AuditRecord)})


def plainly(record: AuditRecord) -> bytes:
    return json.dumps({"type": "audit", **record.to_record()}, separators=(",", ":")).encode() + b"\n"


@given(RECORDS, st.lists(st.tuples(st.sampled_from(fields(AuditRecord)), st.data()), max_size=4))
def test_it_is_what_json_makes_of_it_byte_by_byte_however_it_was_changed(
    record: AuditRecord, changes: list[tuple[Any, Any]]
) -> None:
    assert render_record(record) == plainly(record)
    for field, data in changes:
        value = data.draw(VALUES[field.type])
        other = record.changed(**{field.name: value})
        assert other == replace(record, **{field.name: value})
        assert render_record(other) == plainly(other)
        record = other

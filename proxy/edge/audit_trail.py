"""Audit records as JSON lines. `docs/operations.md` holds the schema."""

import json
from collections.abc import Callable
from typing import Final

from proxy.core.audit import AuditRecord, Own

# containerd and CRI-O cut the lines of a container at 16 KiB, and what is cut is no JSON any more.
MAX_LINE: Final = 16_384
# `namespace/name` has 317 characters at most; only paths are longer. Twenty such fields fit into a line.
MAX_FIELD: Final = 320

_OPENING: Final = '{"type":"audit",'

_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


class AuditSink:
    """Gives each record to `write` as one line of ASCII: no escape sequence, no odd line break survives."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def __call__(self, record: AuditRecord, own: Own | None = None) -> None:
        self._write(render_record(record, own))


def render_record(record: AuditRecord, own: Own | None = None) -> bytes:
    """`own`: of another request that said the same."""
    line = record.to_json(own, _OPENING)
    if len(line) >= MAX_LINE:
        fields = {"type": "audit", **(record if own is None else record.of(own)).to_record()}
        cut = {name: value[:MAX_FIELD] if isinstance(value, str) else value for name, value in fields.items()}
        line = _encode({**cut, "truncated": True})
    return line.encode() + b"\n"

from structlog.testing import CapturingLogger

from proxy.telemetry.log import Log


def test_a_structlog_logger_is_one() -> None:
    lines = CapturingLogger()
    log: Log = lines

    log.info("done", count=1)
    log.warning("hm")
    log.error("no", why="x")

    assert [(call.method_name, call.args, call.kwargs) for call in lines.calls] == [
        ("info", ("done",), {"count": 1}),
        ("warning", ("hm",), {}),
        ("error", ("no",), {"why": "x"}),
    ]

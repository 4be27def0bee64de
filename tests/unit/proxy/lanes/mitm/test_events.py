from mitmproxy.connection import Server

from proxy.lanes.mitm.events import DrainUpstreamHook, JudgeRequestHook


def test_hooks_have_names_of_their_own() -> None:
    assert (JudgeRequestHook.name, DrainUpstreamHook.name) == ("judge_request", "drain_upstream")


def test_a_wait_that_is_stopped_before_it_began_does_not_begin() -> None:
    told: list[str] = []
    hook = DrainUpstreamHook(Server(address=("192.0.2.7", 443)))
    hook.stop()
    assert hook.is_stopped

    hook.cancel = lambda: told.append("cancelled")
    hook.stop()

    assert told == ["cancelled"]

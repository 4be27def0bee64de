from tests.command_line import run_podkey


def test_python_dash_m_proxy_is_podkey() -> None:
    done = run_podkey("version")

    assert done.stdout.startswith(b"podkey ")
    assert (done.stderr, done.returncode) == (b"", 0)


def test_its_status_is_that_of_the_command() -> None:
    assert run_podkey("check", "examples/nowhere").returncode == 1

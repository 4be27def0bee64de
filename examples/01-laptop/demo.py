"""`make demo`: an unchanged program behind the sidecar, on this machine, told in the terminal.

With root it makes what a pod has: a network of its own, an nftables redirect, and separate users for the
sidecar and the program. Without root it starts the sidecar as an explicit proxy, and says so.
"""

import argparse
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from place import API, REPORTS, Place, on_localhost, place  # noqa: E402 - beside this file

from tests import netns  # noqa: E402 - what the tests make too: network namespaces,
from tests.upstream_authority import UpstreamAuthority  # noqa: E402 - and an authority of the internet

APP, SIDECAR = 1000, 1337
ADMIN = "http://127.0.0.1:15020"
# A second, usually. The first start in a fresh clone also compiles some hundred modules.
READY_SECONDS = 90.0
LOOK_SECONDS = 3.0

Environment = Mapping[str, str]


def python(*argv: str) -> list[str]:
    return [sys.executable, *argv]


class Demo:
    def __init__(self, folder: Path, place: Place, stack: ExitStack) -> None:
        self.folder = folder
        self.place = place
        self.stack = stack
        # Made here, for this run: what the platform team keeps in a Secret, and what the program has instead.
        self.keys = {
            "api-key": f"sk-demo-{secrets.token_hex(20)}",
            "user": "svc-training",
            "password": secrets.token_urlsafe(24),
        }
        self.placeholders = {
            "OPENAI_API_KEY": f"sk-podkey-{secrets.token_hex(16)}",
            "REPORT_PASSWORD": f"podkey-{secrets.token_hex(16)}",
        }
        self.trust = folder / "trust"
        self.audit = folder / "sidecar" / "audit.jsonl"
        self.app_output = ""

    # --- what a platform team sets up ---

    def write_files(self) -> None:
        for name, uid, mode in (
            ("policy", SIDECAR, 0o755),
            ("secrets", SIDECAR, 0o700),
            ("tokens", SIDECAR, 0o700),
            ("sidecar", SIDECAR, 0o700),
            ("trust", SIDECAR, 0o755),
            ("app", APP, 0o755),
        ):
            self._folder(name, uid, mode)
        policy = (HERE / "policy.yaml").read_text()
        if self.place.network is None:
            policy = on_localhost(policy, self.place.port)
        (self.folder / "policy" / "policy.yaml").write_text(policy)
        for path, text in (
            ("openai/api-key", self.keys["api-key"]),
            ("reports/user", self.keys["user"]),
            ("reports/password", self.keys["password"]),
        ):
            file = self.folder / "secrets" / path
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
            self._own(file.parent, SIDECAR, 0o700)
            self._own(file, SIDECAR, 0o600)
        lines = [f"{name}={value}" for name, value in self.placeholders.items()]
        (self.folder / "policy" / "placeholders.env").write_text("\n".join([*lines, ""]))
        (self.folder / "app" / "app.py").write_text((HERE / "app.py").read_text())
        (self.folder / "keys.json").write_text(json.dumps(self.keys))
        (self.folder / "keys.json").chmod(0o600)
        self.issue_token()
        self.authority = UpstreamAuthority(self.folder / "internet")
        self.certificate = self.authority.certificate(API, REPORTS, "localhost")

    def issue_token(self) -> None:
        """Play the cluster: its keys, and the token that the kubelet would mount in the sidecar alone."""
        issuer, token = self.folder / "issuer", self.folder / "tokens" / "podkey"
        who = ["--namespace", "demo", "--service-account", "app", "--pod", "laptop"]
        for arguments in (
            ["init", str(issuer)],
            ["token", str(issuer), *who, "--output", str(token)],
        ):
            argv = [sys.executable, "-m", "proxy", "dev", "issuer", *arguments]
            done = subprocess.run(argv, cwd=HERE.parents[1], capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"demo: podkey dev issuer: {done.stderr}")
        self._own(token, SIDECAR, 0o600)
        keys = self.folder / "policy" / "jwks.json"
        keys.write_bytes((issuer / "jwks.json").read_bytes())

    def _folder(self, name: str, uid: int, mode: int) -> None:
        path = self.folder / name
        path.mkdir()
        self._own(path, uid, mode)

    def _own(self, path: Path, uid: int, mode: int) -> None:
        if self.place.network is not None:
            os.chown(path, uid, uid)
        path.chmod(mode)

    def start_stand_in(self) -> None:
        address = netns.INTERNET_V4 if self.place.network else "127.0.0.1"
        certificate = map(str, self.certificate)
        port, keys = str(self.place.port), str(self.folder / "keys.json")
        argv = python(str(HERE / "stand_in.py"), address, port, *certificate, keys)
        process = self._start(argv, 0, {}, outside=True, stdout=subprocess.PIPE)
        if process.stdout is None or process.stdout.readline() != b"ready\n":
            raise SystemExit("demo: the stand-in for the API did not start")

    def start_sidecar(self) -> int:
        settings = {
            "PODKEY_CAPTURE": self.place.capture,
            "PODKEY_NAMESPACE": "demo",
            "PODKEY_SERVICE_ACCOUNT": "app",
            "PODKEY_POD_NAME": "laptop",
            "PODKEY_POLICY_DIR": str(self.folder / "policy"),
            "PODKEY_PLACEHOLDERS_FILE": str(self.folder / "policy" / "placeholders.env"),
            "PODKEY_SECRETS_DIR": str(self.folder / "secrets"),
            "PODKEY_TOKENS_DIR": str(self.folder / "tokens"),
            "PODKEY_ISSUER": "https://kubernetes.default.svc.cluster.local",
            "PODKEY_JWKS_FILE": str(self.folder / "policy" / "jwks.json"),
            "PODKEY_STATE_DIR": str(self.folder / "sidecar"),
            "PODKEY_TRUST_DIR": str(self.trust),
            "PODKEY_UPSTREAM_CA_FILES": str(self.authority.file),
            "PODKEY_AUDIT_FILE": str(self.audit),
            "PODKEY_LOG_FORMAT": "console",
        }
        log = self.stack.enter_context((self.folder / "sidecar.log").open("wb"))
        process = self._start(python("-O", "-m", "proxy", "run"), SIDECAR, settings, stdout=log, stderr=log)
        self._wait_until_ready(process)
        return process.pid

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        look = (
            "import sys, time, urllib.request as u\n"
            f"end = time.monotonic() + {LOOK_SECONDS}\n"
            "while time.monotonic() < end:\n"
            f"    try: sys.exit(u.urlopen('{ADMIN}/readyz', timeout=1).status != 200)\n"
            "    except OSError: time.sleep(0.05)\n"
            "sys.exit(1)\n"
        )
        end = time.monotonic() + READY_SECONDS
        while process.poll() is None and time.monotonic() < end:
            found = subprocess.run(self.place.command(python("-c", look), SIDECAR), check=False)
            # Not so where another sidecar of this machine answered in its place.
            if found.returncode == 0 and process.poll() is None:
                return
        said = self._log() or "(nothing)\n"
        if process.poll() is None:
            raise SystemExit(f"demo: the sidecar was not ready after {READY_SECONDS:.0f} s. Its log:\n{said}")
        raise SystemExit(f"demo: the sidecar ended with status {process.returncode}. Its log:\n{said}")

    def redirect(self, verb: str) -> str:
        argv = self.place.command(python("-m", "proxy", "redirect", verb), APP if verb == "verify" else 0)
        done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=HERE.parents[1])
        if done.returncode:
            raise SystemExit(f"demo: podkey redirect {verb}: {done.stdout}{done.stderr}")
        return done.stdout

    # --- what an engineer does ---

    def app_environment(self) -> dict[str, str]:
        bundle = str(self.trust / "bundle.pem")
        environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.folder / "app"),
            **self.placeholders,
            "REPORT_URL": self.place.report,
            "SSL_CERT_FILE": bundle,
            "REQUESTS_CA_BUNDLE": bundle,
        }
        if self.place.network is None:
            environment |= {"OPENAI_BASE_URL": self.place.api, "HTTPS_PROXY": "http://127.0.0.1:15002"}
        return environment

    def run_app(self) -> str:
        done = self._run(python(str(self.folder / "app" / "app.py")))
        self.app_output = done.stdout + done.stderr
        if done.returncode:
            raise SystemExit(f"demo: the program failed:\n{self.app_output}\n{self._log()}")
        return done.stdout

    def search_as_app(self, sidecar: int) -> tuple[int, int]:
        """All that the program could read, searched for the keys: how many bytes, and how many finds."""
        places = [self.folder / name for name in ("app", "trust", "policy")]
        # Closed to the program, where it has a user of its own.
        closed = [
            self.folder / "secrets",
            self.folder / "tokens",
            self.folder / "sidecar",
            Path(f"/proc/{sidecar}/environ"),
        ]
        places += closed if self.place.network is not None else []
        dump = (
            "import os, pathlib, sys\n"
            "out = sys.stdout.buffer\n"
            "out.write(repr(dict(os.environ)).encode())\n"
            "for root in map(pathlib.Path, sys.argv[1:]):\n"
            "    for path in [root, *root.rglob('*')]:\n"
            "        try: out.write(path.read_bytes())\n"
            "        except OSError: pass\n"
        )
        done = self._run(python("-c", dump, *map(str, places)), text=False)
        seen = done.stdout + self.app_output.encode()
        return len(seen), sum(
            seen.count(key.encode()) for key in (self.keys["api-key"], self.keys["password"])
        )

    def metrics(self) -> Iterator[str]:
        done = self._run(
            python("-c", f"import urllib.request as u; print(u.urlopen('{ADMIN}/metrics').read().decode())")
        )
        wanted = ("podkey_requests_total", "podkey_static", "podkey_fail_open", "podkey_connections_total")
        for line in done.stdout.splitlines():
            if line.startswith(wanted) and (not line.endswith(" 0.0") or "fail_open" in line):
                yield line

    def records(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.audit.read_text().splitlines()]

    # --- programs ---

    def _run(self, argv: Sequence[str], *, text: bool = True) -> subprocess.CompletedProcess:
        # Where there are no users to part, the program runs without its proxy variables for our own errands.
        return subprocess.run(
            self.place.command(argv, APP), env=self.app_environment(), capture_output=True, text=text,
            check=False, timeout=60,
        )  # fmt: skip

    def _start(
        self,
        argv: Sequence[str],
        uid: int,
        settings: Environment,
        *,
        outside: bool = False,
        **options: object,
    ) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            self.place.command(argv, uid, outside=outside),
            env={"PATH": os.environ.get("PATH", ""), "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1", **settings},
            cwd=HERE.parents[1],
            **options,
        )
        self.stack.callback(end, process)
        return process

    def _log(self) -> str:
        path = self.folder / "sidecar.log"
        return path.read_text() if path.exists() else ""


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def say(title: str) -> None:
    bold, plain = ("\x1b[1m", "\x1b[0m") if sys.stdout.isatty() else ("", "")
    print(f"\n{bold}{title}{plain}", flush=True)


def show(text: str) -> None:
    for line in text.splitlines():
        print(f"    {line}", flush=True)


def tell(demo: Demo) -> bool:
    """The story. False when a key was found where none may be."""
    begun = time.monotonic()
    say(f"1. This machine offers {demo.place.title}.")
    demo.write_files()
    demo.start_stand_in()
    show(f"A stand-in for {API} and {REPORTS} answers who has the real keys, and nobody else.")
    sidecar = demo.start_sidecar()
    show("The sidecar is ready. It alone has the keys; examples/01-laptop/policy.yaml says what for.")
    if demo.place.network is not None:
        demo.redirect("apply")
        show("podkey redirect apply && podkey redirect verify:")
        show("".join(f"    {line}\n" for line in demo.redirect("verify").splitlines()))

    say("2. An ordinary program runs: openai and requests, unchanged. All it has is")
    show("\n".join(f"{name}={value}" for name, value in demo.placeholders.items()))
    say("3. What it printed")
    show(demo.run_app())

    say("4. Everything that the program can read, searched for the keys")
    size, found = demo.search_as_app(sidecar)
    limits = (
        ""
        if demo.place.network
        else "\n(in a pod the sidecar's own files are closed to it, too; here there is one user)"
    )
    show(f"{size:,} bytes of environment, files and output: the keys were found {found} times{limits}")

    say("5. The audit trail: one line per decision")
    for record in demo.records():
        rule = f"{record['policy']} grants[{record['grant']}]" if record["policy"] else "-"
        show(
            f"{record['verdict']:<8} {record['reason']:<18} {record['method']:<5} "
            f"{record['host']}{record['path']}  {rule}  {record['credential'] or '-'}  {record['status']}"
        )
    proof = demo.records()[0]
    show(f"Each rests on a token of this pod that was verified, signed by {proof['keyId']}")
    say("6. Some metrics")
    show("\n".join(demo.metrics()))
    say(f"Done in {time.monotonic() - begun:.1f} s.")
    return found == 0


def keep(demo: Demo) -> None:
    say("Still running, until you press Ctrl-C.")
    environment = " ".join(f"{name}='{value}'" for name, value in demo.app_environment().items())
    if demo.place.network is not None:
        show(f"in the pod, as the program's user:\n  nsenter --net=/run/netns/{demo.place.network.pod} \\")
        show(f"    curl --cacert {demo.trust}/bundle.pem --resolve {API}:443:{netns.INTERNET_V4} \\")
        show(f"    -H 'Authorization: Bearer {demo.placeholders['OPENAI_API_KEY']}' https://{API}/v1/models")
    else:
        show(f"env {environment} python examples/01-laptop/app.py")
    show(f"the audit trail:  tail -f {demo.audit}")
    show(f"the policy, reloaded when you change it:  {demo.folder}/policy/policy.yaml")
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave it running, and say how to use it")
    parser.add_argument("--explicit", action="store_true", help="no namespaces, also where they can be made")
    arguments = parser.parse_args()
    why_explicit = "it was asked for" if arguments.explicit else netns.MISSING
    # What is asked to end cleans up, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="podkey-demo-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        demo = Demo(folder, stack.enter_context(place(folder, why_explicit)), stack)
        clean = tell(demo)
        if arguments.keep:
            keep(demo)
    if not clean:
        print("demo: a key was found where none may be", file=sys.stderr)
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())

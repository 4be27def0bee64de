"""The steps of sources as calls that give what they asked for, or why not.

Used with `yield from`, so that no source has to tell replies apart.
"""

from collections.abc import Generator

from proxy.core.parts import SecretKey
from proxy.core.secret import Secret
from proxy.sources.steps import (
    Files,
    HttpCall,
    HttpReply,
    ReadFiles,
    ReadToken,
    Reply,
    Step,
    StepFailed,
)

type Asking[Answer] = Generator[Step, Reply, Answer | StepFailed]


def files(folder: str, names: tuple[str, ...]) -> Asking[Files]:
    reply = yield ReadFiles(folder, names)
    if isinstance(reply, (Secret, HttpReply)):
        raise TypeError("files were asked for")
    return reply


def token(audience: str) -> Asking[Secret]:
    reply = yield ReadToken(audience)
    if isinstance(reply, (Secret, StepFailed)):
        return reply
    raise TypeError("a token was asked for")


def http(call: HttpCall) -> Asking[HttpReply]:
    reply = yield call
    if isinstance(reply, (HttpReply, StepFailed)):
        return reply
    raise TypeError("an HTTP reply was asked for")


def secret_key(key: SecretKey, what: str) -> Asking[Secret]:
    """One key of a mounted secret, without the line break that editors put at a file's end."""
    name = key.secret_name
    found = yield from files(name, (key.key,))
    if isinstance(found, StepFailed):
        return StepFailed(f"{what}: the secret `{name}` cannot be read: {found.message}")
    value = found.get(key.key)
    if value is None:
        return StepFailed(f"{what}: the secret `{name}` is not mounted, or lacks the key `{key.key}`")
    value = value.removesuffix(b"\n").removesuffix(b"\r") if value.endswith(b"\n") else value
    if not value.strip():
        return StepFailed(f"{what}: the key `{key.key}` of the secret `{name}` is empty")
    return Secret(value)

"""The application's own CreateSession, answered by us (S3 Express).

Its answer would hold real credentials. The application gets placeholders, and podkey opens a session of its
own when a request needs one. "CreateSession" (S3 API reference).
"""

from datetime import timedelta

from proxy.core.contract import SESSION_ACCESS_KEY_ID, SESSION_SECRET_KEY, SESSION_TOKEN
from proxy.transaction.granted import Granted
from proxy.transaction.opening import Answered
from proxy.transaction.refusals import OwnAnswer, escaped
from proxy.transaction.slots import read_slots

# As long as S3's own; SDKs ask again a minute before it ends.
SESSION: timedelta = timedelta(minutes=5)


def answer_session(granted: Granted) -> Answered:
    asked = granted.asked
    # The SDK signs with it from now on, so it has to be one that is known to be this pod's.
    found = read_slots(granted.fields, granted.facts.query, granted.rules.slots)
    known = [name for name in found if name in asked.pod.placeholders]
    values = {
        "SessionToken": SESSION_TOKEN,
        "SecretAccessKey": SESSION_SECRET_KEY,
        "AccessKeyId": known[0] if known else SESSION_ACCESS_KEY_ID,
        "Expiration": f"{asked.now + SESSION:%Y-%m-%dT%H:%M:%SZ}",
    }
    inner = "".join(f"<{name}>{escaped(value)}</{name}>" for name, value in values.items())
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<CreateSessionResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Credentials>{inner}</Credentials></CreateSessionResult>"
    ).encode()
    headers = (
        ("content-type", "application/xml"),
        ("content-length", str(len(body))),
        ("x-amz-request-id", asked.request_id),
    )
    return Answered(granted.record, OwnAnswer(200, headers, body))

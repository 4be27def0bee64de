"""Sessions of directory buckets (S3 Express One Zone): what is asked, and what comes back.

"CreateSession" (S3 API reference). A session counts for one bucket and for five minutes; requests to its
objects are signed with it, which spares S3 to look up the caller's rights each time.
"""

from typing import Final

from proxy.aws.answers import Session, name_of, parsed, session_below

SERVICE: Final = "s3express"
QUERY: Final = "session"
MODE_HEADER: Final = "x-amz-create-session-mode"
# The values of the condition key `s3express:SessionMode`, too.
READ_ONLY: Final = "ReadOnly"
READ_WRITE: Final = "ReadWrite"


def read_session(body: bytes) -> Session | None:
    """The session in a reply; None where there is none that could be used."""
    root = parsed(body)
    return session_below(root) if root is not None and name_of(root) == "CreateSessionResult" else None

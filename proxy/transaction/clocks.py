"""How far the clocks of upstreams are from ours, where one has refused a signature for its time."""

from collections import OrderedDict
from datetime import datetime, timedelta
from typing import Final

# A pod signs for some dozens of hosts, a bucket's among them. Each costs some hundred bytes.
MAX_HOSTS: Final = 256
# A clock that runs in the wrong time zone is up to fourteen hours off. By more than a day nobody makes us
# sign ahead: a signature counts around its time, and a grant could be gone by then.
MAX_OFFSET: Final = timedelta(days=1)


class HostClocks:
    """Shared by all requests of one sidecar. Who asked last is forgotten last."""

    def __init__(self) -> None:
        self._offsets: OrderedDict[str, timedelta] = OrderedDict()

    def __len__(self) -> int:
        return len(self._offsets)

    def learn(self, host: str, server_time: datetime, now: datetime) -> timedelta | None:
        """How much further its clock is than ours; None: further than anybody is believed."""
        offset = server_time - now
        if abs(offset) > MAX_OFFSET:
            return None
        self._offsets[host] = offset
        self._offsets.move_to_end(host)
        if len(self._offsets) > MAX_HOSTS:
            self._offsets.popitem(last=False)
        return offset

    def at(self, host: str, now: datetime) -> datetime:
        """What time it is there."""
        offset = self._offsets.get(host)
        if offset is None:
            return now
        self._offsets.move_to_end(host)
        return now + offset

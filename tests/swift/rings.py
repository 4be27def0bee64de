"""Swift's three rings, of one device and one copy: `python rings.py FOLDER account=PORT container=PORT …`."""

import sys
from pathlib import Path

from swift.common.ring import RingBuilder

folder = Path(sys.argv[1])
for argument in sys.argv[2:]:
    name, port = argument.split("=")
    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=0)
    place = {"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1", "weight": 1.0}
    builder.add_dev({**place, "replication_ip": "127.0.0.1", "replication_port": int(port), "meta": ""})
    builder.rebalance()
    builder.get_ring().save(str(folder / f"{name}.ring.gz"))

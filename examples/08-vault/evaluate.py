"""Reads a model and its description. There is no key in this program, nor in its environment."""

import requests

REGISTRY = "https://models.acme.example/v1/models/churn/3"

about = requests.get(REGISTRY, timeout=30)
about.raise_for_status()
weights = requests.get(f"{REGISTRY}/weights", timeout=30)
weights.raise_for_status()
print(f"read       {about.json()['name']}, {len(weights.content)} bytes")

published = requests.put(f"{REGISTRY}/weights", data=b"other weights", timeout=30)
print(f"refused    {published.status_code} {published.headers['podkey-reason']}")

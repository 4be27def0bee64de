"""The sidecar: `core` < `documents` < `services` < `attach`, `sources` < `judge` < `edge` < `cli`.

A package may import those to its left and nothing to its right; `tests/architecture` holds that.
"""

__version__ = "0.1.0"

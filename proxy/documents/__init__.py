"""F1: YAML becomes frozen values. Every problem is reported at once, with its place and the fix.

`shapes` says what a document may hold; reading, JSON Schema, CRDs and the reference page come from them.
"""

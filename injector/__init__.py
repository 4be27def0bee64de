"""The admission webhook. Its rooms are named in CONTRIBUTING.md; none of them is built yet."""

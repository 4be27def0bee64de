"""Signed tokens (RFC 7515, RFC 7519): the pod's own are verified, a source's assertions are signed."""

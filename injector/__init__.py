"""The admission webhook: which pods get a sidecar, and how they come by it. CONTRIBUTING.md has the map."""

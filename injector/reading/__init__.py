"""F1: reviews, pods, watched objects and settings become frozen values, or problems. Nothing is trusted."""

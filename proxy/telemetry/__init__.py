"""F4: how a program tells what it does: log lines and metrics. Both programs do it alike."""

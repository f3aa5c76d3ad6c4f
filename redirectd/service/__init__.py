"""The daemon: scheduler, signals, watchdog, metrics, status."""

"""Stage, check, install, reload, verify, roll back."""

"""`redirectd reopen`: decided remaps become pending again."""

from redirectd.cli.decisions import decision_command

reopen_command = decision_command(
    "reopen",
    "Put rejected, revoked, superseded or expired remaps back to pending, by id, old URI or filter.",
)

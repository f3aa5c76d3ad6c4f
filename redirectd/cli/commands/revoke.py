"""`redirectd revoke`: the next apply no longer routes the remaps."""

from redirectd.cli.decisions import decision_command

revoke_command = decision_command(
    "revoke",
    "Take approvals back, by id, old URI or filter: the next apply no longer routes them.",
)

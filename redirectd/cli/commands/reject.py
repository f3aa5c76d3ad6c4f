"""`redirectd reject`: the remaps stay rejected on new sightings."""

from redirectd.cli.decisions import decision_command

reject_command = decision_command(
    "reject",
    "Reject pending remaps by id, old URI or filter: they stay rejected on new sightings.",
)

"""`redirectd approve`: the next apply routes the remaps."""

import click

from redirectd.cli.decisions import decision_command

approve_command = decision_command(
    "approve",
    "Approve remaps by id, old URI or filter: the next apply routes them.\n\n"
    "An ambiguous remap needs --contact, a suspicious one --force and --reason. One that contradicts an approved remap "
    "(another new URI for the same old or incoming one, or a way back) is refused and names it: --replace lets it take "
    "that one's place. One that is refused does not stop the others; the exit code is then 3. Says what the "
    "next plan will contain. An approved remap that is stale or failing is confirmed: it gets a new review date.",
    click.option(
        "--contact", type=click.IntRange(min=1), help="Which Contact, where there are several: 1 is the first."
    ),
    click.option(
        "--replace",
        "replaced",
        type=click.IntRange(min=1),
        multiple=True,
        metavar="ID",
        help="An approved remap whose place this one takes; that one is superseded. May be given several times.",
    ),
    click.option("--force", is_flag=True, help="Approve a suspicious or malformed one all the same; needs --reason."),
)

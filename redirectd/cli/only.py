"""The option that limits `plan` and `apply` to targets."""

import click

only_option = click.option("--target", "only", multiple=True, metavar="NAME", help="Only this target; may be repeated.")

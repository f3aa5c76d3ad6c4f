"""`redirectd help`: the same as --help, for those who type it first."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from redirectd.cli.output import say
from redirectd.cli.pager import paged


def _commands(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    root = ctx.find_root()
    assert isinstance(root.command, click.Group)
    return [CompletionItem(name) for name in root.command.list_commands(root) if name.startswith(incomplete)]


@click.command("help", context_settings={"ignore_unknown_options": True})
@click.argument("names", nargs=-1, metavar="[COMMAND]...", shell_complete=_commands)
@click.pass_context
@paged
def help_command(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Show the help of redirectd or of one of its commands, as --help does; see redirectd(1) for all of it."""
    context = ctx.find_root()
    for name in names:
        group = context.command
        if not isinstance(group, click.Group):
            break
        _, command, _ = group.resolve_command(context, [name])
        assert command is not None, "a command that is not there is an error"
        context = click.Context(command, info_name=name, parent=context)
    say(context.get_help())

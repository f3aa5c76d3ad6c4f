"""Groups of commands, and the errors of the command line in the one style of all errors: where, why, what to do."""

from __future__ import annotations

import re

import click

from redirectd.errors import RedirectdError, UsageError

_NOT_ONE_OF = re.compile(r"(.*) is not one of (.*)\.?", re.DOTALL)


class CommandGroup(click.Group):
    """A group that shows the whole text of each command, and knows what a misspelt one was meant to be."""

    def command_texts(self) -> dict[str, str]:
        """Name to the first sentence of its help."""
        return {name: (one.help or "").partition("\n\n")[0] for name, one in self.commands.items()}

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, nothing of it cut."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, " ".join(text.split())) for name, text in self.command_texts().items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does. Raises UsageError for a command that is not there."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and self.get_command(ctx, name) is None:
            from redirectd.cli.output import did_you_mean
            from redirectd.sip.text import printable

            what_to_do = f"{did_you_mean(name, self.list_commands(ctx))} see '{ctx.command_path} --help'"
            raise UsageError(f"{ctx.command_path} {printable(name, 60)}", "there is no such command", what_to_do)
        return super().resolve_command(ctx, args)


def as_usage_error(error: click.ClickException) -> RedirectdError:
    """An error of click's own in the style of all others."""
    from redirectd.cli.output import did_you_mean
    from redirectd.sip.text import printable

    context = error.ctx if isinstance(error, click.UsageError) else None
    where = context.command_path if context else "redirectd"
    more = f"see '{where} --help'"
    why = printable(re.sub(r"^Error: ", "", error.format_message()).rstrip("."), 500)
    if isinstance(error, click.NoSuchOption):
        known = [name for one in context.command.get_params(context) for name in one.opts] if context else []
        near = did_you_mean(error.option_name, [name for name in known if name.startswith("-")])
        why = f"there is no such option: {printable(error.option_name, 60)}"
        more = f"{near} {more}" if near.startswith("did") else more
    elif isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter) and error.param:
        name = (
            max(error.param.opts, key=len) if isinstance(error.param, click.Option) else error.param.human_readable_name
        )
        where = f"{where} {name}"
        why = printable(error.message.rstrip("."), 500)
        found = _NOT_ONE_OF.fullmatch(error.message)
        if found and isinstance(error.param.type, click.Choice):
            why = f"there is no such value: {printable(found[1].strip(chr(39)), 60)}"
            more = did_you_mean(found[1].strip("'"), list(map(str, error.param.type.choices)))
    return UsageError(where, f"{why[:1].lower()}{why[1:]}", more)

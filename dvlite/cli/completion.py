"""`dvlite completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from dvlite.cli.options import Common, common
from dvlite.cli.output import say


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@common
def command(common: Common, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      dvlite completion bash >> ~/.bashrc
      dvlite completion zsh >> ~/.zshrc
      dvlite completion fish > ~/.config/fish/completions/dvlite.fish
    """
    from dvlite.cli.main import dvlite

    kind = get_completion_class(shell)
    assert kind is not None
    say(kind(dvlite, {}, "dvlite", "_DVLITE_COMPLETE").source())

# copied from packages/_shared/settings_flags.py; edit it there
"""Command-line flags made from a settings dataclass, so that each default and each help text is written once.

The type of a field decides what its flag accepts, and the field's metadata describes the flag:

- `help`: what the setting is, as a sentence.
- `default`: a description of the default for `--help`, where the value alone is not clear.
- `flag`: the spelling, if it is not `--field-name`; False for a field without a flag.
- `aliases`: further spellings that work but are not shown.
- `choices`: the accepted words; a `Literal` needs none.
- `metavar`: the placeholder of the value in `--help`.
- `parse`: a function from the text to the value, for types that are not int, float, str, bool or Path.

    @dataclass(frozen=True)
    class Settings:
        steps: int = field(default=100, metadata={"help": "Number of steps.", "aliases": ("--max-steps",)})

    @cli.command()
    @settings_flags(Settings)
    def train(**options): run(from_flags(Settings, options))
"""

import types
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import click

from ..errors import DataError
from .addresses import AddressType, is_remote

Settings = TypeVar("Settings")
Command = TypeVar("Command", bound=Callable[..., Any])


class AliasedOption(click.Option):
    """A click option with further spellings that work but are not shown in `--help`."""

    def __init__(self, *args: Any, aliases: tuple[str, ...] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.aliases = aliases

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Register every spelling."""
        shown = self.opts
        self.opts = [*shown, *self.aliases]
        super().add_to_parser(parser, ctx)
        self.opts = shown


def output_argument(metavar: str, *, required: bool = True, remote: bool = False) -> Callable[[Command], Command]:
    """A decorator that adds the argument `out`, a path, which the hidden option `--output-dir` may give instead.

    Args:
        metavar: Name of the argument in `--help`.
        required: Refuse a call without an output.
        remote: Take an address on an object store, too.
    """

    def either(ctx: click.Context, parameter: click.Parameter, value: str | Path | None) -> str | Path | None:
        given = [path for path in (value, ctx.params.pop("output_dir", None)) if path is not None]
        if len(given) > 1:
            raise click.UsageError(f"{metavar} and --output-dir name two outputs; give one", ctx=ctx)
        if not remote and any(map(is_remote, given)):
            raise click.UsageError(f"{given[0]}: this output is made on this machine; name a path", ctx=ctx)
        if required and not given and not ctx.resilient_parsing:
            raise click.MissingParameter(ctx=ctx, param=parameter)
        return next(iter(given), None)

    def add(command: Command) -> Command:
        path = AddressType()
        command = click.option("--output-dir", type=path, hidden=True, is_eager=True)(command)
        return click.argument("out", metavar=metavar, type=path, required=False, callback=either)(command)

    return add


class _Parsed(click.ParamType):
    """A value that a function of the package reads from the text."""

    name = "text"

    def __init__(self, parse: Callable[[str], Any]) -> None:
        self.parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self.parse(value) if isinstance(value, str) else value
        except DataError:
            raise
        except ValueError as error:
            self.fail(str(error), param, ctx)


def settings_flags(settings: type) -> Callable[[Command], Command]:
    """A decorator that adds one option for each field of a settings dataclass, in the order of the fields."""

    def add(command: Command) -> Command:
        hints = get_type_hints(settings)
        for field in reversed(flag_fields(settings)):
            command = _option(field, hints[field.name])(command)
        return command

    return add


def from_flags(settings: type[Settings], options: Mapping[str, Any], **more: Any) -> Settings:
    """The settings that a command was called with.

    Args:
        settings: The dataclass the flags were made from.
        options: The command's keyword arguments; those that are no fields are left out.
        more: Values of fields that have no flag.
    """
    names = {field.name for field in flag_fields(settings)}
    return settings(**{name: value for name, value in options.items() if name in names}, **more)


def flag_fields(settings: type) -> list[Field[Any]]:
    """The fields of a settings dataclass that have a flag."""
    return [field for field in fields(settings) if field.metadata.get("flag") is not False]


def _option(field: Field[Any], hint: Any) -> Callable[[Command], Command]:
    about = field.metadata
    flag = about.get("flag") or f"--{field.name.replace('_', '-')}"
    default = field.default if field.default_factory is MISSING else field.default_factory()
    help_text: str = about.get("help", "")
    kind, multiple = _kind(hint)
    options: dict[str, Any] = {"type": kind, "multiple": multiple, "metavar": about.get("metavar")}
    if kind is bool:
        options = {"is_flag": True}
        flag = f"{flag}/--no-{flag.removeprefix('--')}" if default is True else flag
    elif "parse" in about:
        options["type"] = _Parsed(about["parse"])
    elif "choices" in about:
        options["type"] = click.Choice(about["choices"])
    if default is MISSING:
        options["required"] = True
    else:
        options |= {"default": default, "show_default": "default" not in about and kind is not bool}
    if "default" in about:
        help_text = f"{help_text}  [default: {about['default']}]"
    aliases = tuple(about.get("aliases", ()))
    return click.option(flag, field.name, cls=AliasedOption, aliases=aliases, help=help_text, **options)


def _kind(hint: Any) -> tuple[Any, bool]:
    """What click converts a value to, and whether the flag may be repeated."""
    if get_origin(hint) in (Union, types.UnionType):
        inner = [each for each in get_args(hint) if each is not type(None)]
        return _kind(inner[0]) if len(inner) == 1 else (str, False)
    if get_origin(hint) in (tuple, list):
        return _kind(get_args(hint)[0])[0], True
    if get_origin(hint) is Literal:
        return click.Choice(get_args(hint)), False
    if hint is Path:
        return click.Path(path_type=Path), False
    return (hint, False) if hint in (int, float, str, bool) else (str, False)

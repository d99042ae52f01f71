"""`openscr identity`: the local identity provider of a demo service, for those who have no browser at hand.

Spec: 35 §4.1 to §4.3, §9.5.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openscr.cli.console import fail, note, say, say_json, say_table
from openscr.cli.options import DEMO, At, Data, Json, Verbose, own_directory, reach, read_settings

if TYPE_CHECKING:
    from openscr.directory.model import Directory
    from openscr.faces.identity.apps import App, AppRegister

commands = typer.Typer(help="Tokens and apps of a demo service's identity provider.", no_args_is_help=True)

AppName = Annotated[str, typer.Argument(metavar="APP", help="The app, for example app-gp.")]
AsApp = Annotated[str, typer.Option("--as", metavar="APP", help="The app that asks.")]
Who = Annotated[
    str | None, typer.Option("--user", metavar="ID", help="The person: role profile or user id. Default: nobody.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="identity")


@commands.command("apps", epilog="Example:  openscr identity apps")
def apps(data: Data = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """List the apps that may ask for tokens."""
    directory, register_ = _apps(data)
    found = [app for name in register_.names(directory) if (app := register_.find(directory, name))]
    if as_json:
        say_json([{"client_id": app.client_id, "name": app.name, "scopes": list(app.scopes)} for app in found])
    else:
        say_table(("app", "what it is", "scopes"), ((app.client_id, app.name, " ".join(app.scopes)) for app in found))


@commands.command("app", epilog="Example:  openscr identity app app-gp")
def show_app(
    name: AppName,
    redirect: Annotated[
        list[str] | None,
        typer.Option("--redirect", metavar="URL", help="Let its codes go to this address too; may be given again."),
    ] = None,
    public_key: Annotated[
        Path | None,
        typer.Option("--public-key", metavar="FILE", help="Register a public key: JWK, JWK set or PEM."),
    ] = None,
    data: Data = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Print what an app needs: client id, secret, private key, redirect addresses.

    What the options register, a running service takes at once.
    """
    from openscr.faces.identity.apps import read_public_keys

    directory, register_ = _apps(data)
    app = _find(register_, directory, name)
    if public_key is not None:
        register_.register_keys(app, read_public_keys(public_key.read_bytes()))
        app = _find(register_, directory, name)
    for address in redirect or ():
        register_.register_redirect(app, address)
        app = _find(register_, directory, name)
    key_file = register_.key_file(name)
    told = {
        "client_id": app.client_id,
        "client_secret": app.secret,
        "private_key": str(key_file) if key_file.exists() else "",
        "kid": [str(key.kid) for key in app.keys],
        "redirect_uri": list(app.redirect_uris),
        "scope": list(app.scopes),
    }
    if as_json:
        say_json(told)
        return
    for title, value in told.items():
        for each in value if isinstance(value, list) else [value]:
            say(f"{title:14} {each or 'none'}")


@commands.command("token", epilog="Example:  openscr identity token --as app-gp --user 555000000102")
def token(
    app: AsApp = "app-gp",
    user: Who = None,
    level: Annotated[int, typer.Option("--level", min=1, max=3, help="Assurance level (AAL) of the sign-in.")] = 3,
    exchange: Annotated[
        bool, typer.Option("--exchange", help="Separate login: exchange the ID token with a client assertion.")
    ] = False,
    at: At = DEMO,
    data: Data = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Get an access token the way apps do, and print it. Without --user the app gets it for itself.

    A role profile is chosen at sign-in; with a user id no role is chosen. --json prints the whole answer.
    """
    from openscr.cli.identity_walk import Walk

    directory, register_ = _apps(data)
    known = _find(register_, directory, app)
    person = _person(directory, user)

    async def run() -> dict[str, Any]:
        async with Walk(at, known, register_.key_file(app)) as walk:
            if person is None:
                return await walk.application_token()
            answer = await walk.user_token(*person, level)
            return await walk.exchanged(answer["id_token"]) if exchange else answer

    asyncio.run(reach(at))
    answer = asyncio.run(run())
    if as_json:
        say_json(answer)
    else:
        say(answer["access_token"])


@commands.command("assertion", epilog="Example:  openscr identity assertion --as app-gp")
def assertion(
    app: AsApp = "app-gp", at: At = DEMO, data: Data = None, as_json: Json = False, verbose: Verbose = False
) -> None:
    """Print a client assertion for an app, signed with its key: good for one request within four minutes."""
    from openscr.cli.identity_walk import Walk

    directory, register_ = _apps(data)
    known = _find(register_, directory, app)

    async def run() -> dict[str, str]:
        async with Walk(at, known, register_.key_file(app)) as walk:
            return await walk.assertion()

    asyncio.run(reach(at))
    made = asyncio.run(run())
    if as_json:
        say_json(made)
    else:
        say(made["client_assertion"])


@commands.command("sso-token", epilog="Example:  openscr identity sso-token --user 555000000102")
def sso_token(
    user: Who = None, at: At = DEMO, data: Data = None, as_json: Json = False, verbose: Verbose = False
) -> None:
    """Get a smartcard's ticket for a role profile, and print it."""
    from openscr.cli.identity_walk import Walk

    directory, register_ = _apps(data)
    person = _person(directory, user)
    if person is None:
        raise typer.BadParameter("--user says whose smartcard it is")

    async def run() -> str:
        async with Walk(at, None, register_.key_file("")) as walk:
            return await walk.ticket(*person)

    asyncio.run(reach(at))
    ticket = asyncio.run(run())
    if as_json:
        say_json({"token": ticket})
    else:
        say(ticket)


@commands.command("rotate", epilog="Example:  openscr identity rotate")
def rotate(
    overlap: Annotated[
        int | None, typer.Option("--overlap", metavar="SECONDS", help="How long the old key is published still.")
    ] = None,
    at: At = DEMO,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Let the provider sign with a new key."""
    from openscr.cli.identity_walk import post_json
    from openscr.faces.identity.application import KEYS

    asyncio.run(reach(at))
    form = {} if overlap is None else {"overlap_seconds": overlap}
    answer = asyncio.run(post_json(at, KEYS, form))
    if as_json:
        say_json(answer)
    else:
        say(answer["kid"])


@commands.command("sign-out", epilog="Example:  openscr identity sign-out --user 555000000101")
def sign_out(
    user: Who = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="URL", help="Where the logout tokens go; default the provider itself."),
    ] = None,
    audience: Annotated[str, typer.Option("--audience", metavar="NAME", help="Whom they are meant for.")] = "openscr",
    at: At = DEMO,
    data: Data = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """End a person's sessions, by back-channel logout."""
    from openscr.cli.identity_walk import post_form, post_json
    from openscr.faces.identity.application import LOGOUT, LOGOUT_TOKENS

    directory, _ = _apps(data)
    person = _person(directory, user)
    if person is None:
        raise typer.BadParameter("--user says whose sessions end")

    async def run() -> int:
        form = {"user": person[0], "client_id": audience}
        tokens: list[str] = (await post_json(at, LOGOUT_TOKENS, form))["logout_tokens"]
        for each in tokens:
            await post_form(to or f"{at.rstrip('/')}{LOGOUT}", {"logout_token": each})
        return len(tokens)

    asyncio.run(reach(at))
    ended = asyncio.run(run())
    if as_json:
        say_json({"ended": ended})
    else:
        note(f"{ended} sessions ended" if ended != 1 else "1 session ended")


def _apps(data: Path | None) -> "tuple[Directory, AppRegister]":
    from openscr.faces.identity.apps import AppRegister

    settings = read_settings(data, None)
    settings.make_data_folder()
    return asyncio.run(own_directory(data)), AppRegister(settings.identity)


def _find(register_: "AppRegister", directory: "Directory", name: str) -> "App":
    app = register_.find(directory, name)
    if app is None:
        fail(f"there is no app {name}; there are {', '.join(register_.names(directory))}", status=2)
    return app


def _person(directory: "Directory", given: str | None) -> tuple[str, str | None] | None:
    """Return user id and role profile that an option names; no role profile when it names the user alone."""
    if given is None:
        return None
    found = directory.role(given)
    if found is not None:
        return found[0].user_id, given
    if given in directory.users:
        return given, None
    raise typer.BadParameter("--user is a role profile or a user id of the directory")

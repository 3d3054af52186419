"""Every name that people and programs outside meet: commands, options, JSON members, routes, Python names, page titles.

Each is given with where it was found, for the words of a failure. Nothing is listed by hand: what is added to a
command, a route or a page is found by itself.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, cast

import click
from django.urls import URLPattern, URLResolver
from fastapi import FastAPI

import keyseat_verifier
from keyseat_issuer.api.client.session_docs import add_session_routes
from keyseat_issuer.api.client.sessions import SessionRoutes
from keyseat_issuer.cli import COMMANDS
from keyseat_issuer.server.app import ROUTERS
from keyseat_issuer.server.urls import urlpatterns
from keyseat_shared.codes import ReasonCode
from keyseat_verifier.cli import _COMMANDS as CLIENT_COMMANDS
from keyseat_verifier.cli._options import Command

TOP = Path(__file__).parents[2]
CODE = [TOP / "shared", TOP / "verifier", TOP / "issuer"]


class Name(NamedTuple):
    """A public name, what kind of name it is, and where it stands."""

    text: str
    kind: str
    place: str

    @property
    def words(self) -> list[str]:
        """Its words in lower case: ``--machine-id``, ``machine_id`` and ``MachineID`` have two."""
        spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", self.text)
        return [word.lower() for word in re.findall(r"[A-Za-z]+", spaced)]


def all_names() -> list[Name]:
    """Return every public name."""
    return [*issuer_commands(), *client_commands(), *json_members(), *python_names(), *routes(), *titles(), *codes()]


def issuer_commands() -> Iterator[Name]:
    """Commands and options of ``keyseat-issuer``."""
    for word, entry in COMMANDS.items():
        yield Name(word, "command", "keyseat-issuer")
        yield Name(entry.summary, "summary", f"keyseat-issuer {word}")
        yield from _options(getattr(import_module(entry.module), entry.attribute), f"keyseat-issuer {word}")


def _options(command: click.Command, path: str) -> Iterator[Name]:
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            for option in [*parameter.opts, *parameter.secondary_opts]:
                yield Name(option, "option", path)
        else:
            yield Name(str(parameter.name), "argument", path)
    if isinstance(command, click.Group):
        for word, inner in command.commands.items():
            yield Name(word, "command", path)
            yield from _options(inner, f"{path} {word}")


def client_commands() -> Iterator[Name]:
    """Commands and options of ``keyseat``."""
    for word, (home, summary) in CLIENT_COMMANDS.items():
        where = f"keyseat {word}"
        yield Name(word, "command", "keyseat")
        yield Name(summary, "summary", where)
        module = import_module(f"keyseat_verifier.cli.{home}")
        if hasattr(module, "_parser"):
            yield from (
                Name(option, "option", where)
                for action in module._parser()._actions
                for option in action.option_strings
            )
        for command in vars(module).values():
            if isinstance(command, Command) and command.usage.startswith(where):
                yield from (Name(option, "option", where) for option in command.options)
                yield from (Name(option, "argument", where) for option in command.positional)


def json_members() -> Iterator[Name]:
    """Keys of dicts written out in the code: what ``--json``, the API, files and audit rows hold is written so."""
    for path in sorted(found for folder in CODE for found in folder.rglob("*.py") if "migrations" not in found.parts):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            keys = node.keys if isinstance(node, ast.Dict) else []
            for key in keys:
                if isinstance(key, ast.Constant) and isinstance(key.value, str) and re.fullmatch("[a-z_]+", key.value):
                    yield Name(key.value, "JSON member", f"{path.relative_to(TOP)}:{key.lineno}")


def python_names() -> Iterator[Name]:
    """What `keyseat_verifier` offers: classes and functions, their attributes, and their parameters."""
    for name in keyseat_verifier.__all__:
        value = getattr(keyseat_verifier, name)
        yield Name(name, "Python name", "keyseat_verifier")
        yield from _parameters(value, name)
        if inspect.isclass(value):
            ours = [base for base in value.__mro__ if base.__module__.startswith("keyseat_")]
            for attribute in {attribute for base in ours for attribute in vars(base) if not attribute.startswith("_")}:
                yield Name(attribute, "Python name", name)
                yield from _parameters(getattr(value, attribute), f"{name}.{attribute}")


def _parameters(value: object, place: str) -> Iterator[Name]:
    try:
        parameters = inspect.signature(value).parameters  # type: ignore[arg-type] # what is no callable is told apart here
    except (TypeError, ValueError):
        return
    yield from (Name(name, "Python name", place) for name in parameters if not name.startswith("_"))


def routes() -> Iterator[Name]:
    """Addresses of the API and of the pages, with the names and fields that the API's description gives them."""
    nobody = cast("Any", None)  # the routes are described, not called
    api = FastAPI()
    api.state.extra_models = []
    for router in ROUTERS:
        api.include_router(router)
    add_session_routes(api, SessionRoutes(nobody, nobody).lanes())
    document = api.openapi()
    for path, methods in document["paths"].items():
        yield Name(path, "route", "API")
        for operation in methods.values():
            yield Name(operation["operationId"], "operation", path)
            yield from (Name(entry["name"], "parameter", path) for entry in operation.get("parameters", ()))
    for schema, described in document["components"]["schemas"].items():
        yield from (Name(field, "JSON member", schema) for field in described.get("properties", ()))
    yield from _patterns(urlpatterns, "pages")


def _patterns(patterns: list[URLPattern | URLResolver], place: str) -> Iterator[Name]:
    for pattern in patterns:
        if "allauth" in str(getattr(pattern, "urlconf_name", "")):
            continue  # not our names
        yield Name(str(pattern.pattern), "route", place)
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, str(pattern.pattern))


def titles() -> Iterator[Name]:
    """Titles and headings of the pages, labels of fields, and the words on buttons, links and columns."""
    seen = re.compile(r"<(title|h[1-6]|th|label|button|legend|caption|summary|dt)\b[^>]*>(.*?)</\1>", re.DOTALL)
    for path in sorted((TOP / "issuer").rglob("*.html")):
        for found in seen.finditer(path.read_text("utf-8")):
            text = re.sub(r"{%.*?%}|{{.*?}}|<[^>]*>", " ", found[2])
            yield Name(" ".join(text.split()), "title", str(path.relative_to(TOP)))


def codes() -> Iterator[Name]:
    """Reason codes."""
    yield from (Name(str(code), "reason code", "keyseat_shared.codes") for code in ReasonCode)

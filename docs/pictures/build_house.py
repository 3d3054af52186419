"""Draws the house (house-light.svg, house-dark.svg), and lists its rooms in ARCHITECTURE.md.

``python docs/pictures/build_house.py``. The floors of the issuer are the layers that the import linter holds
(pyproject.toml); what a room is for is the first paragraph of its package. So picture and list follow the code.
"""

import ast
import tomllib
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
TOP = HERE.parents[1]
ISSUER = TOP / "issuer" / "keyseat_issuer"
VERIFIER = TOP / "verifier" / "keyseat_verifier"
SHARED = TOP / "shared" / "keyseat_shared"
VERIFIER_FLOORS = (("cli",), ("client", "online"), ("verify", "machine"), ("_internal",))
BEGIN, END = "<!-- rooms: written by docs/pictures/build_house.py -->", "<!-- end of rooms -->"

WIDTH, MARGIN, ROW, GAP = 960, 14, 28, 5
LEFT, RIGHT = 560, 340  # the widths of the issuer and of the verifier
FACES = {"api", "cli", "console", "demo", "web"}
IN_SHORT = {
    "_internal": "paths, the account's own place",
    "api": "routes of clients and of admins",
    "bootstrap": "a safe SQLite, Django set up",
    "checks": "audit verify: the ledger against its log",
    "console": "an organisation's licences",
    "demo": "the main job, act by act",
    "home": "the issuer's folder",
    "keys": "private keys, also in an HSM",
    "server": "composition root: one process, frame, limits",
    "settings": "Django's, for the command line",
    "trust": "the bundle and its versions",
    "web": "signing in, device grant, invitations",
    "ledger/audit": "a chained row for every act and refusal",
    "ledger/customers": "organisations, members, subscriptions, API keys",
    "ledger/models": "the tables",
    "ledger/offline": "offline licences: rules, preview, issue, batch",
    "ledger/pools": "counters under their locks",
    "ledger/postgresql": "connections that do not wait for ever",
    "ledger/seats": "assign, transfer, usage",
    "ledger/sessions": "the desk and its turns",
    "ledger/tools": "paging, plain SQL, append-only rows",
    "issuer/cli": "keyseat-issuer",
    "verifier/cli": "keyseat",
    "verifier/client": "LicenseClient",
    "verifier/machine": "probes",
    "verifier/online": "leases, server",
    "verifier/verify": "ten steps",
}
"""A few words for each room, where there is space beside its name."""
THEMES = {
    "light": {
        "ink": "#1f2328",
        "soft": "#59636e",
        "wall": "#d1d9e0",
        "house": "#f6f8fa",
        "room": "#ffffff",
        "face": "#ddf4ff",
    },
    "dark": {
        "ink": "#f0f6fc",
        "soft": "#9198a1",
        "wall": "#3d444d",
        "house": "#151b23",
        "room": "#212830",
        "face": "#12304f",
    },
}


class Room(NamedTuple):
    """A folder with modules: its path below the package, and what it is for."""

    path: str
    purpose: str


def purpose(folder: Path) -> str:
    """Return the first sentence of a package's docstring, without quotation marks of code."""
    text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text("utf-8"))) or ""
    return " ".join(text.partition("\n\n")[0].split()).replace("``", "`")


def rooms(package: Path) -> list[Room]:
    """Return the rooms of a package, by name. Migrations and template filters are furniture, no rooms."""
    found = []
    for init in sorted(package.rglob("__init__.py")):
        folder = init.parent
        furniture = {"migrations", "templatetags"} & set(folder.relative_to(package).parts)
        if folder != package and not furniture and folder.relative_to(package).as_posix() != "web/models":
            found.append(Room(folder.relative_to(package).as_posix(), purpose(folder)))
    return found


def floors(container: str) -> list[list[str]]:
    """Return the layers of a package from the top, each with the rooms and modules side by side on it."""
    contracts = tomllib.loads((TOP / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    [contract] = [entry for entry in contracts if entry.get("containers") == [container]]
    return [[name.strip("() ") for name in layer.split("|")] for layer in contract["layers"]]


def text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    """Return a line of text."""
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def box(x: float, y: float, width: float, height: float, kind: str) -> str:
    """Return a rounded box."""
    return f'<rect x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5" class="{kind}"/>'


def floor(  # noqa: PLR0917 - a place is x, y, width, height
    names: list[str], x: float, y: float, width: float, part: str, height: float = ROW
) -> Iterator[str]:
    """Draw the rooms of a floor side by side."""
    each = (width - GAP * (len(names) - 1)) / len(names)
    for place, name in enumerate(names):
        left = x + place * (each + GAP)
        yield box(left, y, each, height, "face" if name in FACES else "room")
        told = IN_SHORT.get(f"{part}/{name}", IN_SHORT.get(name, ""))
        if height > 2 * ROW:  # one below the other
            yield text(left + each / 2, y + height / 2 - 2, name, "name", "middle")
            yield text(left + each / 2, y + height / 2 + 17, told, "soft", "middle")
        else:
            yield text(left + 10, y + height / 2 + 4.5, name, "name")
            yield text(left + each - 10, y + height / 2 + 4.5, told, "soft", "end")


def issuer(x: float, y: float) -> tuple[list[str], float]:
    """Draw the issuer; return its parts and its height."""
    parts: list[str] = []
    inside = LEFT - 2 * MARGIN
    below = y + 40
    for names in floors("keyseat_issuer"):
        if names == ["ledger"]:
            inner = [found for floor in floors("keyseat_issuer.ledger") if (found := only_rooms("ledger", floor))]
            height = 30 + len(inner) * (ROW - 4 + GAP) + 4
            parts += [
                box(x + MARGIN, below, inside, height, "wing"),
                text(x + 2 * MARGIN, below + 19, "ledger", "name"),
            ]
            parts.append(text(x + LEFT - 2 * MARGIN, below + 19, "who bought, who holds, what was done", "soft", "end"))
            for place, found in enumerate(inner):
                top = below + 28 + place * (ROW - 4 + GAP)
                parts += floor(found, x + 2 * MARGIN, top, inside - 2 * MARGIN, "ledger", ROW - 4)
        else:
            height = ROW
            parts += floor(names, x + MARGIN, below, inside, "issuer")
        below += height + GAP
    height = below - y + MARGIN - GAP
    head = [box(x, y, LEFT, height, "house"), text(x + MARGIN, y + 25, "keyseat_issuer", "title")]
    head.append(text(x + LEFT - MARGIN, y + 25, "the vendor's side", "soft", "end"))
    return [*head, *parts], height


def only_rooms(folder: str, names: list[str]) -> list[str]:
    """Return those of these names that are folders of rooms, and not single modules."""
    known = {room.path for room in rooms(ISSUER)}
    return [name for name in names if f"{folder}/{name}" in known]


def verifier(x: float, y: float, height: float) -> list[str]:
    """Draw the verifier, as high as the issuer."""
    parts = [box(x, y, RIGHT, height, "house"), text(x + MARGIN, y + 25, "keyseat_verifier", "title")]
    parts.append(text(x + RIGHT - MARGIN, y + 25, "the customer's side", "soft", "end"))
    each = (height - 40 - MARGIN + GAP) / len(VERIFIER_FLOORS) - GAP
    for place, names in enumerate(VERIFIER_FLOORS):
        parts += floor(list(names), x + MARGIN, y + 40 + place * (each + GAP), RIGHT - 2 * MARGIN, "verifier", each)
    return parts


def picture(theme: dict[str, str]) -> str:
    """Return the house in the colours of a theme."""
    top = 34.0
    left, height = issuer(MARGIN, top)
    right = WIDTH - MARGIN - RIGHT
    base = top + height + 22
    arrow = (MARGIN + LEFT + right) / 2
    parts = [*left, *verifier(right, top, height)]
    parts += [
        text(
            WIDTH / 2,
            20,
            "Imports go down and to the right, never up or back. Blue: the faces, which people and programs meet.",
            "soft",
            "middle",
        )
    ]
    parts += [text(arrow, top + height / 2, "→", "title", "middle")]
    parts += [
        text(MARGIN + LEFT / 2, base - 6, "↓", "title", "middle"),
        text(right + RIGHT / 2, base - 6, "↓", "title", "middle"),
    ]
    parts += [
        box(MARGIN, base, WIDTH - 2 * MARGIN, 44, "house"),
        text(2 * MARGIN, base + 27, "keyseat_shared", "title"),
    ]
    words = "formats, keys, trust bundle, policy, machine-ID algebra, rules: what both sides must agree on"
    parts.append(text(WIDTH - 2 * MARGIN, base + 27, words, "soft", "end"))
    style = (
        "text{font-family:system-ui,-apple-system,'Segoe UI',sans-serif;font-size:13px}"
        f".title{{font-weight:600;font-size:15px;fill:{theme['ink']}}}.name{{fill:{theme['ink']}}}.soft{{fill:{theme['soft']}}}"
        f".house{{fill:{theme['house']};stroke:{theme['wall']}}}.wing{{fill:{theme['house']};stroke:{theme['wall']}}}"
        f".room{{fill:{theme['room']};stroke:{theme['wall']}}}.face{{fill:{theme['face']};stroke:{theme['wall']}}}"
    )
    tall = base + 44 + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {tall:g}" role="img" aria-labelledby="t">',
            '<title id="t">The house: the issuer and the verifier with their rooms, both on the shared package</title>',
            f"<style>{style}</style>",
            *parts,
            "</svg>\n",
        ]
    )


def table() -> str:
    """Return the list of all rooms."""
    rows = ["| room | what it is for |", "|---|---|"]
    for title, package in (("issuer", ISSUER), ("verifier", VERIFIER)):
        folder = package.relative_to(TOP).as_posix()
        rows += [
            f"| [`{room.path}`]({folder}/{room.path}) of the {title} | {room.purpose} |" for room in rooms(package)
        ]
    rows.append(f"| [`keyseat_shared`](shared/keyseat_shared) | {purpose(SHARED)} |")
    return "\n".join(rows)


def main() -> None:
    """Write the pictures and the list."""
    for name, theme in THEMES.items():
        (HERE / f"house-{name}.svg").write_text(picture(theme), "utf-8")
    page = TOP / "ARCHITECTURE.md"
    before, _, rest = page.read_text("utf-8").partition(BEGIN)
    page.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{rest.partition(END)[2]}", "utf-8")


if __name__ == "__main__":
    main()

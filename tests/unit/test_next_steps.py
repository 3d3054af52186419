"""Each face's table of next steps: complete for what the services can refuse, and in the words of its readers."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from string import Formatter
from typing import NamedTuple

import grimp
import pytest

import keyseat_issuer
import keyseat_shared
from keyseat_issuer.api.problems import STATUS, ApiError, next_of
from keyseat_issuer.api.steps import STEPS as API
from keyseat_issuer.causes import Cause, DiscreetError
from keyseat_issuer.cli.steps import STEPS as CLI
from keyseat_issuer.steps import UNATTENDED, NextSteps
from keyseat_issuer.web.steps import STEPS as PAGES
from keyseat_shared.codes import NEXT_STEPS, ReasonCode
from keyseat_shared.errors import KeyseatError, as_trust_error
from keyseat_verifier.online.next_steps import BY_CODE, BY_REASON, SERVERS_WORDS, next_step_of

COMMAND = re.compile(r"keyseat-issuer|(?<![\w-])--[a-z]|`keyseat ")
"""The vendor's command line, an option of any command, a command of the client's."""

ISSUER = Path(keyseat_issuer.__file__).parent
SHARED = Path(keyseat_shared.__file__).parent
SERVICES = ("ledger", "checks", "trust", "keys", "server", "home.py", "bootstrap.py", "steps.py")
OTHER_FACES = ("api", "console", "web")
FACES = {"API": (API, ("api",)), "pages": (PAGES, ("web", "console"))}
MACHINES_OWN = "`keyseat machine-id"
"""How anybody gets a machine ID, whoever reads of it: the one command that is the same for all."""


class Raised(NamedTuple):
    """A cause where a module names it, and the code it is raised with (``None`` where that is decided elsewhere)."""

    module: str
    cause: Cause
    code: ReasonCode | None


def files(*rooms: str) -> Iterator[Path]:
    for room in rooms:
        path = ISSUER / room
        assert path.exists(), "a room moved: name its new place"
        yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module that are no docstrings."""
    tree = ast.parse(path.read_text())
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in alone:
            yield node.lineno, node.value


def member(node: ast.expr, of: str) -> str | None:
    is_one = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == of
    return node.attr if is_one and isinstance(node, ast.Attribute) else None


def raised() -> Iterator[Raised]:
    """Yield every place outside the tables where a cause is named."""
    for path in sorted(ISSUER.rglob("*.py")):
        if path.name == "steps.py":
            continue
        module = ".".join(path.relative_to(ISSUER.parent).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text())
        codes = {}
        for call in ast.walk(tree):
            if isinstance(call, ast.Call):
                found = [name for node in call.args if (name := member(node, "ReasonCode"))]
                if isinstance(call.func, ast.Name | ast.Attribute) and ast.unparse(call.func).endswith("unavailable"):
                    found = ["LEDGER_UNAVAILABLE"]
                for keyword in ast.walk(call):
                    if found and isinstance(keyword, ast.expr) and member(keyword, "Cause"):
                        codes[id(keyword)] = ReasonCode[found[0]]
        for node in ast.walk(tree):
            if isinstance(node, ast.expr) and (name := member(node, "Cause")):
                yield Raised(module, Cause[name], codes.get(id(node)))


def session_codes() -> set[ReasonCode]:
    """Return the codes that the rooms of sessions name."""
    trees = [ast.parse(path.read_text()) for path in files("ledger/sessions", "api/client", "api/auth.py")]
    found = [
        name
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.expr) and (name := member(node, "ReasonCode"))
    ]
    return {ReasonCode[name] for name in found}


@pytest.fixture(scope="module")
def imported() -> grimp.ImportGraph:
    return grimp.build_graph("keyseat_issuer", cache_dir=None)


def test_every_cause_is_raised_somewhere() -> None:
    assert set(Cause) == {entry.cause for entry in raised()}


@pytest.mark.parametrize("steps", [CLI, API, PAGES])
def test_every_code_has_a_next_step_in_every_face(steps: NextSteps) -> None:
    assert set(ReasonCode) == set(steps.by_code)
    assert all(steps.by_code.values())


def test_the_command_line_has_a_next_step_for_every_cause() -> None:
    assert set(Cause) == set(CLI.by_cause)


@pytest.mark.parametrize("face", FACES)
def test_a_face_has_a_next_step_for_every_cause_that_it_can_show(face: str, imported: grimp.ImportGraph) -> None:
    steps, rooms = FACES[face]
    own = {module for room in rooms for module in imported.find_descendants(f"keyseat_issuer.{room}")}
    reached = own.union(*[imported.find_upstream_modules(module) for module in own])
    shown = {
        entry.cause
        for entry in raised()
        if entry.module in reached and (entry.code is None or entry.code not in steps.only_ours)
    }

    assert [] == sorted(shown - set(steps.by_cause))


@pytest.mark.parametrize("path", [*files(*SERVICES), *sorted(SHARED.rglob("*.py"))], ids=lambda path: path.stem)
def test_no_service_names_a_command_or_an_option(path: Path) -> None:
    told = [(line, text) for line, text in texts(path) if COMMAND.search(text) and MACHINES_OWN not in text]

    assert [] == [entry for entry in told if not entry[1].startswith((".keyseat-issuer", "--"))]


@pytest.mark.parametrize("path", [*files(*OTHER_FACES), ISSUER / "causes.py"], ids=lambda path: path.stem)
def test_neither_the_api_nor_the_pages_name_a_command(path: Path) -> None:
    assert [] == [(line, text) for line, text in texts(path) if COMMAND.search(text) and "machine-id" not in text]


@pytest.mark.parametrize("steps", [API, PAGES])
def test_no_next_step_of_the_api_or_the_pages_is_a_command(steps: NextSteps) -> None:
    told = [*steps.by_code.values(), *steps.by_cause.values()]

    assert [] == [text for text in told if COMMAND.search(re.sub(r"`keyseat machine-id [^`]*`", "", text))]


@pytest.mark.parametrize("steps", [CLI, API, PAGES])
def test_the_facts_in_a_next_step_are_in_the_details_of_the_refusal(steps: NextSteps) -> None:
    for path in files(*SERVICES, *OTHER_FACES):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call):
                causes = [
                    name for word in call.keywords if word.arg == "cause" and (name := member(word.value, "Cause"))
                ]
                given = {
                    key.value
                    for node in ast.walk(call)
                    if isinstance(node, ast.Dict)
                    for key in node.keys
                    if isinstance(key, ast.Constant)
                }
                for name in causes:
                    text = steps.by_cause.get(Cause[name], "")
                    asked = {field.partition("[")[0] for _, field, _, _ in Formatter().parse(text) if field}
                    assert set() == asked - given, (path, call.lineno)


def test_a_next_step_of_the_command_line_can_be_pasted_into_a_shell() -> None:
    error = KeyseatError(
        ReasonCode.NOT_A_MEMBER, "no", details={"emails": ["a@example.com", "b; reboot"]}, cause=Cause.MEMBERS_UNKNOWN
    )

    assert "Add them first: `keyseat-issuer member add ORG a@example.com 'b; reboot'`." == CLI.of(error)


def test_a_fact_that_is_not_known_is_shown_as_a_usage_line_shows_it() -> None:
    error = KeyseatError(ReasonCode.ALREADY_BOUND, "no", cause=Cause.MACHINE_BOUND)

    assert "Hand out the same file again: keyseat-issuer offline export LICENSE_ID" == CLI.of(error)


@pytest.mark.parametrize("steps", [CLI, API, PAGES])
@pytest.mark.parametrize("cause", Cause)
def test_a_refusal_without_any_facts_is_told_all_the_same(steps: NextSteps, cause: Cause) -> None:
    assert steps.of(KeyseatError(ReasonCode.INVALID_INPUT, "no", cause=cause))


def test_a_fact_cannot_bring_facts_of_its_own() -> None:
    error = KeyseatError(ReasonCode.ALREADY_EXISTS, "no", details={"email": "{role}"}, cause=Cause.MEMBER_ALREADY)

    assert "`keyseat-issuer member role ORG '{role}' ROLE` changes a member's role." == CLI.of(error)


@pytest.mark.parametrize("code", sorted(UNATTENDED))
def test_what_only_the_operator_can_mend_is_told_to_others_as_that(code: ReasonCode) -> None:
    error = KeyseatError(code, "no", next_step="Make room on the disk of the database.")

    assert "Make room on the disk of the database." == CLI.of(error)
    assert ["tell whoever runs this server" in steps.of(error) for steps in (API, PAGES)] == [True, True]


@pytest.mark.parametrize("steps", [CLI, API, PAGES])
def test_what_is_the_same_for_every_reader_is_told_as_the_service_says_it(steps: NextSteps) -> None:
    error = KeyseatError(ReasonCode.INVALID_INPUT, "no", next_step="Write it as name@example.com.")

    assert "Write it as name@example.com." == steps.of(error)


def test_a_general_next_step_is_told_in_the_words_of_the_face() -> None:
    error = KeyseatError(ReasonCode.MACHINE_WEAK, "no")

    assert NEXT_STEPS[ReasonCode.MACHINE_WEAK] == error.next_step
    assert ("--accept-weak" in CLI.of(error), "`accept_weak`" in API.of(error)) == (True, True)


def test_what_customers_must_not_hear_is_told_to_the_vendor_only() -> None:
    error = DiscreetError(
        ReasonCode.ADDRESS_UNPROVEN, "no", Cause.ADDRESS_CLAIMED, details={}, facts={"organizations": ["A", "B C"]}
    )
    prying = NextSteps(API.by_code, CLI.by_cause)

    assert CLI.of(error).startswith("That was in A, 'B C'.")
    assert prying.of(error).startswith("That was in ORGANIZATIONS.")
    assert "B C" not in str(error.to_dict())


def test_a_cause_that_a_face_has_no_words_for_is_told_by_its_code() -> None:
    error = KeyseatError(ReasonCode.INVALID_INPUT, "no", cause=Cause.HYBRID_ALREADY)

    assert "Correct the value and try again." == API.of(error)


def test_what_the_api_refuses_itself_keeps_its_words() -> None:
    error = ApiError(ReasonCode.LEDGER_UNAVAILABLE, "no", status=503, next_step="Send requests to another server.")

    assert "Send requests to another server." == next_of(error)


def test_an_error_that_changes_its_class_keeps_its_cause() -> None:
    error = as_trust_error(KeyseatError(ReasonCode.UNREADABLE, "no", cause=Cause.ISSUER_MISSING))

    assert Cause.ISSUER_MISSING == error.cause
    assert "cause" not in error.to_dict()


def test_the_client_knows_of_every_code_an_answer_can_carry_whose_words_count() -> None:
    # What follows from a state of things in a session or its licences; the others belong to files or to administration.
    assert set() == SERVERS_WORDS & set(BY_CODE)
    assert set(STATUS) <= SERVERS_WORDS | set(BY_CODE)
    assert session_codes() <= SERVERS_WORDS | set(BY_CODE)


def test_the_client_never_names_the_vendors_command_line() -> None:
    assert [] == [text for text in [*BY_CODE.values(), *BY_REASON.values()] if "keyseat-issuer" in text]


@pytest.mark.parametrize(
    ("code", "reason", "sent", "told"),
    [
        (ReasonCode.NOT_ALLOWED, "named", "Sign in as the user.", "Sign in as the user with `keyseat login`."),
        (ReasonCode.NOT_ALLOWED, "expired", "Ask for a new API key.", "Ask for a new API key."),
        (ReasonCode.QUOTA_EXCEEDED, None, "Try again at 12:00.", "Try again at 12:00."),
        (ReasonCode.QUOTA_EXCEEDED, {}, "", NEXT_STEPS[ReasonCode.QUOTA_EXCEEDED]),
        (
            ReasonCode.LEDGER_UNAVAILABLE,
            "named",
            "Run `keyseat-issuer migrate`.",
            BY_CODE[ReasonCode.LEDGER_UNAVAILABLE],
        ),
    ],
)
def test_the_client_tells_its_own_words_where_it_knows_better(
    code: ReasonCode, reason: object, sent: str, told: str
) -> None:
    assert told == next_step_of(code, {"reason": reason}, sent)

"""The command line's table of next steps: exact commands, with the arguments that are known from the refusal."""

import shlex

from keyseat_issuer.causes import Cause
from keyseat_issuer.steps import EVERYBODYS, NextSteps
from keyseat_shared.codes import NEXT_STEPS, ReasonCode

_BY_CODE = {
    **NEXT_STEPS,
    ReasonCode.EXAMPLE_KEY: "Make keys of your own with `keyseat-issuer init`; example keys are public.",
    ReasonCode.MACHINE_WEAK: "Get a machine ID with stronger evidence, or accept it knowingly with --accept-weak.",
    ReasonCode.NOT_FOUND: "Check the name; the `list` commands show what there is.",
    ReasonCode.NOT_CONFIRMED: "Confirm at the prompt, or pass --yes in scripts.",
}

_CUSTOMERS = {
    Cause.ACCOUNT_SHUT_OFF: "`keyseat-issuer account activate` lets it sign in again.",
    Cause.ACCOUNT_UNKNOWN: "`keyseat-issuer account list` shows all of them.",
    Cause.ADDRESS_CLAIMED: "That was in {organizations:, }. Hand the person the link of `keyseat-issuer account"
    " reset-password EMAIL`: using it proves the address. --yes where you know that the account is theirs.",
    Cause.API_KEY_UNKNOWN: "`keyseat-issuer api-key list` shows the prefixes.",
    Cause.ENDS_NOT_WHOLE_YEARS: "Give --ends {ends[0]} (or {ends[1]}), or --years N.",
    Cause.ENDS_TOO_LATE: "Give --ends {ends} at the latest. Your policy can allow longer subscriptions:"
    " `keyseat-issuer policy set --max-years N`.",
    Cause.INVITATION_UNKNOWN: "`keyseat-issuer invite list ORG` shows those that do.",
    Cause.LAST_OWNER: "Make somebody else an owner first: `keyseat-issuer member role ORG EMAIL owner`.",
    Cause.MEMBER_ALREADY: "`keyseat-issuer member role ORG {email} ROLE` changes a member's role.",
    Cause.MEMBER_UNKNOWN: "Add the user first: `keyseat-issuer member add ORG EMAIL`.",
    Cause.MEMBERS_UNKNOWN: "Add them first: `keyseat-issuer member add ORG {emails}`.",
    Cause.ORGANIZATION_AMBIGUOUS: "Write ACCOUNT/NAME, or the id that `keyseat-issuer org list` shows.",
    Cause.ORGANIZATION_UNKNOWN: "`keyseat-issuer org list` shows all of them.",
    Cause.SECOND_FACTOR_UNREADABLE: "`keyseat-issuer account forget-second-factor EMAIL` lets the account set up a new"
    " one.",
}

_SEATS = {
    Cause.API_KEY_FOR_NAMED: "Sign in as the user with `keyseat login`.",
    Cause.PRODUCT_NEVER_BOUGHT: "`keyseat-issuer subscription list` shows what each organisation has, and"
    " `keyseat-issuer subscription add` adds one.",
    Cause.SEAT_NOT_HELD: "`keyseat-issuer seat list` shows who holds one.",
    Cause.SEVERAL_ORGANIZATIONS: "Name one by its id.",
    Cause.TOKEN_REFUSED: "Sign in with `keyseat login`, or set an API key.",
}

_OFFLINE = {
    Cause.BATCH_HALF_WRITTEN: "Run the same batch again with another --out: nothing is issued twice.",
    Cause.FILE_EXISTS: "Name another file with --out, or a folder, where each licence gets a name of its own.",
    Cause.FILE_NOT_WRITABLE: "Check that the folder exists and that you may write there, or name another with --out.",
    Cause.HOLDER_LACKING: "Say whose with --user EMAIL (in a table, the column user).",
    Cause.HOLDER_NOT_FOR_FLOATING: "Leave --user out (in a table, the cell empty).",
    Cause.LICENSE_ID_MALFORMED: "`keyseat-issuer offline list` shows the ids; the beginning is enough where it is the"
    " only one.",
    Cause.LICENSE_UNKNOWN: "`keyseat-issuer offline list --all` shows all of them.",
    Cause.MACHINE_BOUND: "Hand out the same file again: keyseat-issuer offline export {license_id}",
    Cause.OFFLINE_ISSUED_ELSEWHERE: "Start it with the licence keys: `keyseat-issuer serve --with-license-key`.",
    Cause.SESSIONS_NOT_FOR_NAMED: "Leave --sessions out (in a table, the cell empty).",
    Cause.SIGNED_BUT_UNVERIFIABLE: "Check the signing key against the trust bundle: `keyseat-issuer keys list`.",
    Cause.SUBSCRIPTION_UNKNOWN: "`keyseat-issuer subscription list` shows the ids.",
}

_LEDGER = {
    Cause.ANCHOR_MALFORMED: "Copy the whole anchor that an earlier `keyseat-issuer audit verify` printed.",
    Cause.BACKUP_OF_POSTGRESQL: 'Run: pg_dump --format=custom --file=FILE "$DATABASE_URL"',
    Cause.DATABASE_MISSING: "Create it (createdb), then run `keyseat-issuer migrate`.",
    Cause.ENTRY_REFUSED: "Try again; if it happens again, run `keyseat-issuer audit verify` and report a bug.",
    Cause.LEDGER_MISSING: "Make one with `keyseat-issuer init` (or `keyseat-issuer migrate` for the ledger alone).",
    Cause.LEDGER_NOT_MIGRATED: "Run `keyseat-issuer migrate`.",
    Cause.LEDGER_TIME_OR_CLOCK: "Set the clock of this machine to the right time and try again. If it is right, the"
    " ledger's time is wrong: `keyseat-issuer audit clock` compares them and, with --accept, goes on from this clock.",
    Cause.SERVER_NOT_MIGRATED: "Stop the servers, make a backup, run `keyseat-issuer migrate`.",
}

_TRUST = {
    Cause.BUNDLE_CHANGED_MEANWHILE: "Look at it with `keyseat-issuer trust show`, then try again.",
    Cause.BUNDLE_NEVER_STALE: "Say for how many days each version is to be fresh: --fresh-days N.",
    Cause.BUNDLE_NOT_THE_ONE_SEEN: "If that is in order, name the bundle that is in force, which you have from somebody"
    " you trust: --present TRUST.",
    Cause.BUNDLE_STALE: "Renew the trust bundle with the root key first: `keyseat-issuer trust renew`.",
    Cause.HISTORY_DAMAGED: "Find out who changed it (`keyseat-issuer audit verify` names all that was changed), then"
    " restore the issuer's home and the ledger from the same backup.",
    Cause.HYBRID_ALREADY: "Leave --hybrid out; --key KEYID says which root key to replace.",
    Cause.HYBRID_ROOT_NEEDED: "First: keyseat-issuer trust rotate --hybrid",
    Cause.ISSUER_MISSING: "Make one with `keyseat-issuer init`, or set KEYSEAT_ISSUER_HOME to the folder that holds"
    " it.",
    Cause.KEY_FILE_MISSING: "Restore it from your backup, or name the folder where you keep it (--root-keys FOLDER for"
    " root keys).",
    Cause.KEY_IS_ROOT: "Replace it with `keyseat-issuer trust rotate`.",
    Cause.KEY_NEEDED: "Add one with `keyseat-issuer keys add --purpose {purpose} --algorithm {algorithm}`.",
    Cause.KEY_UNKNOWN: "`keyseat-issuer keys list` shows the key ids.",
    Cause.NO_ROOT_KEY_TO_SIGN: "Name the file of the key: --key ROOT.pem.",
    Cause.PASSPHRASE_WRONG: "Try again with the passphrase chosen at `keyseat-issuer init`.",
    Cause.PROPOSAL_UNSIGNED: "Have it signed with `keyseat-issuer trust sign FILE --key ROOT.pem`, then adopt it.",
    Cause.PROPOSALS_DIFFER: "`keyseat-issuer trust review FILE` shows what each would change.",
    Cause.ROOT_KEY_NOT_GIVEN: "Its holder makes it: `keyseat-issuer trust new-root FOLDER`; name the .pub file with"
    " --new. Or have it made on this computer: --make-here.",
    Cause.ROOT_KEY_UNKNOWN: "`keyseat-issuer trust show` lists the root keys.",
    Cause.ROOT_KEY_WHICH: "Name it by its id: --key KEYID.",
    Cause.ROOT_KEYS_ELSEWHERE: "Bring the root key back from where you keep it: --root-keys FOLDER. Or write the change"
    " to a file that is signed where the key is: --proposal FILE.",
    Cause.ROOT_PASSPHRASE_WRONG: "Try again with the passphrase of that root key. If its holder signs elsewhere, leave"
    " that signature open: --proposal FILE.",
    Cause.SIGNED_ANOTHER: "Ask whoever runs the issuer whether that one was dropped. Only if it was, and what this"
    " proposal changes against it is meant: --instead-of {digest}.",
    Cause.SIGNED_NOTE_DAMAGED: "Move it away, and name the bundle in force, which you have from somebody you trust:"
    " --present TRUST.",
}

_ADDRESS = {
    Cause.ADDRESS_MALFORMED: "Write --bind 127.0.0.1:8000.",
    Cause.ADDRESS_TAKEN: "Choose another address with --bind, or stop what listens there.",
}

STEPS = NextSteps(
    _BY_CODE,
    EVERYBODYS | _CUSTOMERS | _SEATS | _OFFLINE | _LEDGER | _TRUST | _ADDRESS,
    quote=shlex.quote,
    is_vendors=True,
)
"""What to do next about every refusal, for whoever works at the vendor's command line."""

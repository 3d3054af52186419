"""The causes of refusals whose next step depends on who reads it: services name one, each face has its own words."""

from collections.abc import Mapping
from enum import StrEnum

from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError


class Cause(StrEnum):
    """Why something was refused, where the reason code alone does not tell a face what to advise.

    The words stand in ``cli/steps.py``, ``api/steps.py`` and ``web/steps.py``.
    """

    # Customers and their people
    ACCOUNT_SHUT_OFF = "account-shut-off"
    ACCOUNT_UNKNOWN = "account-unknown"
    ADDRESS_CLAIMED = "address-claimed"
    API_KEY_UNKNOWN = "api-key-unknown"
    ENDS_NOT_WHOLE_YEARS = "ends-not-whole-years"
    ENDS_TOO_LATE = "ends-too-late"
    INVITATION_UNKNOWN = "invitation-unknown"
    LAST_OWNER = "last-owner"
    MEMBER_ALREADY = "member-already"
    MEMBER_UNKNOWN = "member-unknown"
    MEMBERS_UNKNOWN = "members-unknown"
    ORGANIZATION_AMBIGUOUS = "organization-ambiguous"
    ORGANIZATION_UNKNOWN = "organization-unknown"
    SECOND_FACTOR_UNREADABLE = "second-factor-unreadable"

    # Seats and sessions
    API_KEY_FOR_NAMED = "api-key-for-named"
    PRODUCT_NEVER_BOUGHT = "product-never-bought"
    SEAT_NOT_HELD = "seat-not-held"
    SEVERAL_ORGANIZATIONS = "several-organizations"
    TOKEN_REFUSED = "token-refused"  # noqa: S105 - a cause, not a token

    # Offline licences
    BATCH_HALF_WRITTEN = "batch-half-written"
    FILE_EXISTS = "file-exists"
    FILE_NOT_WRITABLE = "file-not-writable"
    HOLDER_LACKING = "holder-lacking"
    HOLDER_NOT_FOR_FLOATING = "holder-not-for-floating"
    LICENSE_ID_MALFORMED = "license-id-malformed"
    LICENSE_UNKNOWN = "license-unknown"
    MACHINE_BOUND = "machine-bound"
    OFFLINE_ISSUED_ELSEWHERE = "offline-issued-elsewhere"
    SESSIONS_NOT_FOR_NAMED = "sessions-not-for-named"
    SIGNED_BUT_UNVERIFIABLE = "signed-but-unverifiable"
    SUBSCRIPTION_UNKNOWN = "subscription-unknown"

    # The ledger, its clock and its database
    ANCHOR_MALFORMED = "anchor-malformed"
    BACKUP_OF_POSTGRESQL = "backup-of-postgresql"
    DATABASE_MISSING = "database-missing"
    ENTRY_REFUSED = "entry-refused"
    LEDGER_MISSING = "ledger-missing"
    LEDGER_NOT_MIGRATED = "ledger-not-migrated"
    OVERLOADED = "overloaded"
    SEATS_HELD = "seats-held"
    LEDGER_TIME_OR_CLOCK = "ledger-time-or-clock"
    SERVER_NOT_MIGRATED = "server-not-migrated"

    # Keys and the trust bundle
    BUNDLE_CHANGED_MEANWHILE = "bundle-changed-meanwhile"
    BUNDLE_NEVER_STALE = "bundle-never-stale"
    BUNDLE_NOT_THE_ONE_SEEN = "bundle-not-the-one-seen"
    BUNDLE_STALE = "bundle-stale"
    HISTORY_DAMAGED = "history-damaged"
    HYBRID_ALREADY = "hybrid-already"
    HYBRID_ROOT_NEEDED = "hybrid-root-needed"
    ISSUER_MISSING = "issuer-missing"
    KEY_FILE_MISSING = "key-file-missing"
    KEY_IS_ROOT = "key-is-root"
    KEY_NEEDED = "key-needed"
    KEY_UNKNOWN = "key-unknown"
    NO_ROOT_KEY_TO_SIGN = "no-root-key-to-sign"
    PASSPHRASE_WRONG = "passphrase-wrong"  # noqa: S105 - a cause, not a passphrase
    PROPOSAL_UNSIGNED = "proposal-unsigned"
    PROPOSALS_DIFFER = "proposals-differ"
    ROOT_KEY_NOT_GIVEN = "root-key-not-given"
    ROOT_KEY_UNKNOWN = "root-key-unknown"
    ROOT_KEY_WHICH = "root-key-which"
    ROOT_KEYS_ELSEWHERE = "root-keys-elsewhere"
    ROOT_PASSPHRASE_WRONG = "root-passphrase-wrong"  # noqa: S105 - a cause, not a passphrase
    SIGNED_ANOTHER = "signed-another"
    SIGNED_NOTE_DAMAGED = "signed-note-damaged"

    # The address that is served
    ADDRESS_MALFORMED = "address-malformed"
    ADDRESS_TAKEN = "address-taken"


class DiscreetError(KeyseatError):
    """A refusal with ``facts`` for the vendor's own words only; ``details`` go to customers, too."""

    def __init__(
        self,
        code: ReasonCode,
        message: str,
        cause: Cause,
        *,
        details: Mapping[str, object],
        facts: Mapping[str, object],
    ) -> None:
        """Keep the parts."""
        super().__init__(code, message, details=details, cause=cause)
        self.facts = dict(facts)

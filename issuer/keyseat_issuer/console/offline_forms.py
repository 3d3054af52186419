"""The forms about offline licences: which machine, whose seat, until when."""

from collections.abc import Sequence
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict

from keyseat_issuer.console.visits import told
from keyseat_issuer.ledger.models import Organization
from keyseat_issuer.ledger.offline.rules import OfflineRequest
from keyseat_shared.codes import ReasonCode
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import parse_typed
from keyseat_shared.machine_id import MachineID
from keyseat_shared.payloads import MAX_SESSIONS
from keyseat_shared.request import MAX_REQUEST_SIZE, parse_request

_MOST_TYPED = 1000
"""Characters: what is longer than a machine ID can be is told by its own parser."""
_PLACES: dict[ReasonCode, str] = {
    ReasonCode.MALFORMED: "machine_id",
    ReasonCode.UNSUPPORTED_FORMAT: "machine_id",
    ReasonCode.MACHINE_WEAK: "machine_id",
    ReasonCode.ALREADY_BOUND: "machine_id",
    ReasonCode.INVALID_INPUT: "user",
    ReasonCode.NOT_A_MEMBER: "user",
    ReasonCode.EXPIRY_AFTER_SUBSCRIPTION: "last_day",
    ReasonCode.EXPIRY_IN_PAST: "last_day",
    ReasonCode.QUOTA_EXCEEDED: "",
    ReasonCode.NOT_ANNUAL: "",
    ReasonCode.NOT_YET_VALID: "",
    ReasonCode.SUBSCRIPTION_ENDED: "",
    ReasonCode.NOT_FOUND: "",
}
"""The field that a refusal is told at; without a name it is told above all of them."""
_MISTYPED = frozenset({ReasonCode.MALFORMED, ReasonCode.UNSUPPORTED_FORMAT, ReasonCode.INVALID_INPUT})


class MachineForm(forms.Form):
    """A machine, by its ID or by the request file that it wrote. ``cleaned_data["machine_id"]`` is what counts."""

    machine_id = forms.CharField(
        label="Machine ID",
        required=False,
        max_length=_MOST_TYPED,
        help_text="Printed by <code>keyseat machine-id</code> on the machine, run by the user who will work there."
        " Capitals, spaces and dashes do not matter.",
        widget=forms.Textarea(
            attrs={
                "rows": 2,
                "autocomplete": "off",
                "autocapitalize": "none",
                "spellcheck": "false",
                "class": "machine",
            }
        ),
    )
    request = forms.FileField(
        label="Or its request file",
        required=False,
        help_text="Written by <code>keyseat machine-id --request FILE</code>, at most 32 KB. The ID is taken from it.",
    )

    def clean_request(self) -> MachineID | None:
        """Return the machine ID of the request file, if there is one."""
        file = cast("UploadedFile[Any] | None", self.cleaned_data.get("request"))
        if file is None:
            return None
        try:
            return parse_request(file.read(MAX_REQUEST_SIZE + 1)).machine_id
        except KeyseatError as error:
            # Its next step names a command of the client, for the person at the machine.
            raise ValidationError(told(error)) from None

    def clean(self) -> dict[str, Any]:
        """Require a machine ID, and that a request file is of the same one."""
        data = super().clean() or {}
        typed, requested = data.get("machine_id"), data.get("request")
        if not {"machine_id", "request"}.isdisjoint(self.errors):
            return data
        if not typed and requested is None:
            self.add_error("machine_id", "Type the machine ID, or choose the request file.")
        elif requested is not None:
            if typed and not self._is(typed, requested):
                self.add_error("request", "This file is of another machine ID than the one typed. Give one of the two.")
            else:
                data["machine_id"] = str(requested)
                self._show_again(str(requested))
        return data

    def refuse(self, error: KeyseatError) -> int:
        """Tell a refusal of the ledger's at the field it is about, and return the HTTP status.

        Raises:
            KeyseatError: the same one, where it is not about what was typed.
        """
        if error.code not in _PLACES:
            raise error
        place = _PLACES[error.code]
        self.add_error(place if place in self.fields else None, told(error))
        return 400 if error.code in _MISTYPED else 409

    def _is(self, typed: str, requested: MachineID) -> bool:
        try:
            return MachineID.parse(typed) == requested
        except KeyseatError as error:
            self.refuse(error)
            return True

    def _show_again(self, machine_id: str) -> None:
        """Show the ID when the form is shown again: a browser does not fill in a file again."""
        data = cast("QueryDict", self.data).copy()
        data["machine_id"] = machine_id
        self.data = data


class OfflineForm(MachineForm):
    """What to convert. Named products have a user, floating ones a number of sessions."""

    user = forms.CharField(
        label="User",
        max_length=320,
        error_messages={"required": "Say whose seat is converted."},
        help_text="The e-mail address of a member. An assigned seat becomes the offline one; otherwise a free seat is"
        " taken.",
        widget=forms.EmailInput(attrs={"list": "members", "autocomplete": "off"}),
    )
    sessions = forms.IntegerField(
        label="Sessions",
        min_value=1,
        max_value=MAX_SESSIONS,
        initial=1,
        help_text="How many may run at the same time on that machine. Each takes a seat.",
    )
    last_day = forms.DateField(
        label="Last day",
        required=False,
        input_formats=["%Y-%m-%d"],
        error_messages={"invalid": "This is not a date. Write it as YYYY-MM-DD."},
        help_text="The licence works through the end of this day (UTC). Leave it empty for the end of the"
        " subscription; an earlier day is possible, a later one is not.",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )
    accept_weak = forms.BooleanField(label="Accept a weak machine ID", required=False)

    def __init__(self, *arguments: Any, named: bool, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        """Leave out what the product does not have."""
        super().__init__(*arguments, **options)
        del self.fields["sessions" if named else "user"]

    def clean_last_day(self) -> str:
        """Return the day as it is written, checked to have an end."""
        day = self.cleaned_data.get("last_day")
        if day is None:
            return ""
        try:
            parse_typed(day.isoformat(), end_of_day=True)
        except KeyseatError as error:
            raise ValidationError(told(error)) from None
        written: str = day.isoformat()
        return written

    def asked(self, organization: Organization, product: str) -> OfflineRequest:
        """Return the request that a valid form makes."""
        data = self.cleaned_data
        return OfflineRequest(
            str(organization.pk),
            product,
            data["machine_id"],
            user=data.get("user"),
            expires_at=parse_typed(data["last_day"], end_of_day=True) if data["last_day"] else None,
            sessions=data.get("sessions", 1),
            accept_weak=data["accept_weak"],
        )

    def typed(self) -> Sequence[tuple[str, str]]:
        """Return what a valid form was filled in with, to be sent again with a later page."""
        data = self.cleaned_data
        values = [(name, str(data[name])) for name in ("machine_id", "user", "sessions", "last_day") if data.get(name)]
        return [*values, *([("accept_weak", "on")] if data["accept_weak"] else [])]

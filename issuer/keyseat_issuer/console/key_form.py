"""The form of an API key to make."""

from datetime import datetime
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from keyseat_issuer.console.visits import told
from keyseat_issuer.ledger.customers import api_keys, naming
from keyseat_issuer.ledger.models.organizations import MAX_NAME
from keyseat_shared.errors import KeyseatError
from keyseat_shared.instants import parse_typed


class KeyForm(forms.Form):
    """A key to make."""

    name = forms.CharField(
        label="Name",
        max_length=MAX_NAME,
        help_text="Where it will be used, so that you know later what stops when you revoke it: “nightly build”.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        choices=list(api_keys.SCOPES.items()),
        error_messages={"required": "Choose one thing at least that the key may do."},
    )
    expires = forms.CharField(
        label="Last day (optional)",
        required=False,
        max_length=32,
        help_text="The key works through the end of this day, UTC. Without one it works until it is revoked.",
        widget=forms.DateInput(attrs={"type": "date"}),
    )

    def __init__(self, *arguments: Any, now: datetime, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        """Bind the form to an instant: a key must not have expired before it is made."""
        super().__init__(*arguments, **options)
        self._now = now

    def clean_name(self) -> str:
        """Return the name as the ledger keeps it."""
        try:
            return naming.clean_name(self.cleaned_data["name"], "an API key")
        except KeyseatError as error:
            raise ValidationError(told(error)) from None

    def clean_expires(self) -> datetime | None:
        """Return the instant from which on the key is refused."""
        typed = self.cleaned_data["expires"]
        if not typed:
            return None
        try:
            until = parse_typed(typed, end_of_day=True)
        except KeyseatError as error:
            raise ValidationError(told(error)) from None
        if until <= self._now:
            raise ValidationError("This day is over. Choose a later one.")
        return until

"""The forms of our own pages."""

from typing import Any

from django import forms
from django.contrib.auth.password_validation import password_validators_help_text_html, validate_password
from django.core.exceptions import ValidationError

from keyseat_issuer.ledger.models.organizations import MAX_NAME
from keyseat_issuer.web.models import User


class UserCodeForm(forms.Form):
    """The code a client shows."""

    user_code = forms.CharField(
        label="Code",
        max_length=20,
        help_text="Eight letters, as your terminal shows them. Capitals and the dash don't matter.",
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false", "class": "code"}
        ),
    )


class NewAccountForm(forms.Form):
    """Name and password of somebody who accepts an invitation and has no account yet."""

    name = forms.CharField(
        label="Your name", max_length=MAX_NAME, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    password = forms.CharField(
        label="Password",
        strip=False,
        help_text=password_validators_help_text_html,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    again = forms.CharField(
        label="Password again",
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    def __init__(self, *arguments: Any, email: str, **options: Any) -> None:  # noqa: ANN401 - Django's signature
        """Bind the form to the invited address: a password must not resemble it."""
        super().__init__(*arguments, **options)
        self._email = email

    def clean(self) -> dict[str, Any]:
        """Check the password against the rules, and its repetition."""
        data = super().clean() or {}
        password = data.get("password")
        if password:
            try:
                validate_password(password, User(email=self._email, name=data.get("name", "")))
            except ValidationError as error:
                self.add_error("password", error)
            if data.get("again") is not None and password != data["again"]:
                self.add_error("again", "The two passwords differ.")
        return data

"""The forms that take a code of a second factor, with attempts counted our way."""

from allauth.core import context
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm

from keyseat_issuer.web import attempts


class SignInForm(AuthenticateForm):  # type: ignore[misc, unused-ignore]
    """Takes the code after the password."""

    def clean_code(self) -> str:
        """Return the code where it is right."""
        attempt = attempts.at_second_factor(context.request, self.user)
        code: str = super().clean_code()
        attempt.succeeded()
        return code


class ConfirmForm(ReauthenticateForm):  # type: ignore[misc, unused-ignore]
    """Takes a code of somebody who is signed in, before what needs a proof."""

    def clean_code(self) -> str:
        """Return the code where it is right."""
        attempt = attempts.at_confirmation(context.request, self.user)
        code: str = super().clean_code()
        attempt.succeeded()
        return code

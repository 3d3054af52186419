"""The addresses of the browser side, the console's among them.

allauth's pages are listed one by one: sign-up and e-mail changes stay out.
"""

from allauth.account import views as account
from django.urls import include, path, re_path

from keyseat_issuer.web import device_pages, invitation_pages, oauth, pages, reset_pages

urlpatterns = [
    path("", pages.home, name="home"),
    path("organizations/<uuid:organization_id>/", include("keyseat_issuer.console.urls")),
    path("device", device_pages.device_page, name="device"),
    path("clients/<uuid:sign_in>/end", pages.end_client, name="end_client"),
    path("invitation", invitation_pages.open_link, name="invitation_link"),
    path("invitation/accept", invitation_pages.accept, name="invitation"),
    path("oauth/device", oauth.device_authorization, name="oauth_device"),
    path("oauth/token", oauth.token, name="oauth_token"),
    path("oauth/revoke", oauth.revoke, name="oauth_revoke"),
    path("sign-in", account.login, name="account_login"),
    path("sign-out", account.logout, name="account_logout"),
    path("account/inactive", account.account_inactive, name="account_inactive"),
    path("account/confirm", account.reauthenticate, name="account_reauthenticate"),
    path("account/password", reset_pages.change, name="account_change_password"),
    path("account/password/set", account.password_set, name="account_set_password"),
    path("account/password/reset", reset_pages.ask_for_link, name="account_reset_password"),
    path("account/password/reset/sent", account.password_reset_done, name="account_reset_password_done"),
    re_path(
        r"^account/password/reset/key/(?P<uidb36>[0-9A-Za-z]+)-(?P<key>.+)$",
        account.password_reset_from_key,
        name="account_reset_password_from_key",
    ),
    path(
        "account/password/reset/done",
        account.password_reset_from_key_done,
        name="account_reset_password_from_key_done",
    ),
    path("account/second-factor/", include("allauth.mfa.urls")),
]

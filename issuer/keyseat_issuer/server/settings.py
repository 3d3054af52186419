"""Django settings of the server: the ledger's, and accounts, sessions and pages on top. Set up by ``web.start``."""

from pathlib import Path

from keyseat_issuer import settings as ledger
from keyseat_issuer.web.mail import mail_settings, sends_for_real
from keyseat_issuer.web.public_url import LOOPBACK_HOSTS, public_url, trusted_proxies
from keyseat_issuer.web.secret import read_old_secrets, read_secret

_PUBLIC = public_url()
_PROXIES = trusted_proxies()
_HTTPS = _PUBLIC is not None and _PUBLIC.https

DATABASES = ledger.DATABASES
DEFAULT_AUTO_FIELD = ledger.DEFAULT_AUTO_FIELD
USE_TZ = ledger.USE_TZ
TIME_ZONE = ledger.TIME_ZONE
LOGGING_CONFIG = ledger.LOGGING_CONFIG
USE_I18N = False
LANGUAGE_CODE = "en-gb"

SECRET_KEY = read_secret()
SECRET_KEY_FALLBACKS = read_old_secrets()
DEBUG = False
ROOT_URLCONF = "keyseat_issuer.server.urls"
APPEND_SLASH = False
STATIC_URL = "/static/"

INSTALLED_APPS = [
    *ledger.INSTALLED_APPS,
    "keyseat_issuer.web",  # before allauth: our templates come first
    "keyseat_issuer.console",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "allauth",
    "allauth.account",
    "allauth.mfa",
]
MIDDLEWARE = [
    "keyseat_issuer.web.origin.PublicHost",
    "django.middleware.security.SecurityMiddleware",
    "keyseat_issuer.web.security.SecurityHeaders",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "keyseat_issuer.web.known_devices.KnownDevices",
    "keyseat_issuer.web.attempts.Waiting",
    "keyseat_issuer.web.failures.Failures",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parents[1] / "web" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# Passwords and accounts -------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "web.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = ["keyseat_issuer.web.hashers.Argon2"]
AUTH_PASSWORD_VALIDATORS = [
    {
        "NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator",
        "OPTIONS": {"user_attributes": ("email", "name")},
    },
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"

ACCOUNT_ADAPTER = "keyseat_issuer.web.adapters.AccountAdapter"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
# An address is proven by the invitation sent to it; no page adds another one.
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
# A reset asked for an unknown address sends nothing: this server must not mail strangers for anybody, and its mail
# would invite them to sign up, which is closed.
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_NOTIFICATIONS = sends_for_real()
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
# allauth counts in the cache, which forgets when it is full, and by the Host that a request names. Ours: web.attempts.
ACCOUNT_RATE_LIMITS = False
ACCOUNT_FORMS = {"reset_password": "keyseat_issuer.web.reset_pages.ResetForm"}
ALLAUTH_TRUSTED_PROXY_COUNT = _PROXIES

MFA_ADAPTER = "keyseat_issuer.web.adapters.MFAAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "keyseat"
MFA_FORMS = {
    "authenticate": "keyseat_issuer.web.second_factor.SignInForm",
    "reauthenticate": "keyseat_issuer.web.second_factor.ConfirmForm",
}

# allauth notes here which codes of a second factor were used, for half a minute each. Only a right code is written,
# so the table cannot be flooded.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "web_cache",
        "OPTIONS": {"MAX_ENTRIES": 20_000},
    }
}

# The network ------------------------------------------------------------------------------------------------------

ALLOWED_HOSTS = list(LOOPBACK_HOSTS) if _PUBLIC is None else [_PUBLIC.host]
CSRF_TRUSTED_ORIGINS = [] if _PUBLIC is None else [_PUBLIC.origin]
KEYSEAT_PUBLIC_ORIGIN = None if _PUBLIC is None else _PUBLIC.origin

# On plain http the server is reached over loopback only (see public_url), where browsers drop Secure cookies.
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HTTPS
SESSION_COOKIE_NAME = "__Host-keyseat-session" if _HTTPS else "keyseat-session"
CSRF_COOKIE_NAME = "__Host-keyseat-csrf" if _HTTPS else "keyseat-csrf"
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"
SESSION_COOKIE_AGE = 12 * 60 * 60
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SECURE_HSTS_SECONDS = 365 * 24 * 60 * 60 if _HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = False
# Without a proxy that we are told to trust, the scheme it was asked with is unknown, and a redirect would loop.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _PROXIES else None
SECURE_SSL_REDIRECT = _HTTPS and _PROXIES > 0
# As much as a whole request may have (``web.asgi.MOST_BODY``): what is too long for a form is told by the form itself.
DATA_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024
DATA_UPLOAD_MAX_NUMBER_FIELDS = 100
SILENCED_SYSTEM_CHECKS = [
    "security.W005",  # other names of the domain are not ours to put under HSTS
    "security.W021",  # as above, for the browsers' preload list
]

# Mail -------------------------------------------------------------------------------------------------------------

_MAIL = mail_settings()
EMAIL_BACKEND = _MAIL.backend
EMAIL_HOST = _MAIL.host
EMAIL_PORT = _MAIL.port
EMAIL_HOST_USER = _MAIL.user
EMAIL_HOST_PASSWORD = _MAIL.password
EMAIL_USE_TLS = _MAIL.use_tls
EMAIL_USE_SSL = _MAIL.use_ssl
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = SERVER_EMAIL = _MAIL.sender

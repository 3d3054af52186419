"""The addresses of the console, below an organisation's own."""

from django.urls import path

from keyseat_issuer.console import licenses, sessions

urlpatterns = [
    path("licenses", licenses.first_product, name="console_licenses"),
    path("licenses/<str:product>", licenses.product_page, name="console_product"),
    path("licenses/<str:product>/sessions/end", sessions.end, name="console_sessions_end"),
    path("licenses/<str:product>/machines/remove", sessions.remove_machine, name="console_machine_remove"),
]

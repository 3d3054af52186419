"""The addresses of the console, below an organisation's own."""

from django.urls import path

from keyseat_issuer.console import licenses, offline, offline_files, records, sessions, usage

urlpatterns = [
    path("licenses", licenses.first_product, name="console_licenses"),
    path("licenses/<str:product>", licenses.product_page, name="console_product"),
    path("licenses/<str:product>/sessions/end", sessions.end, name="console_sessions_end"),
    path("licenses/<str:product>/machines/remove", sessions.remove_machine, name="console_machine_remove"),
    path("licenses/<str:product>/offline/new", offline.new, name="console_offline_new"),
    path("licenses/<str:product>/offline/issue", offline.issue, name="console_offline_issue"),
    path("licenses/<str:product>/offline/test", offline_files.try_machine, name="console_offline_test"),
    path("licenses/<str:product>/offline/<uuid:license_id>", offline_files.one, name="console_offline_license"),
    path("licenses/<str:product>/offline/<uuid:license_id>/file", offline_files.download, name="console_offline_file"),
    path("usage", usage.report_page, name="console_usage"),
    path("usage.csv", usage.report, name="console_usage_csv"),
    path("audit", records.audit_page, name="console_audit"),
]

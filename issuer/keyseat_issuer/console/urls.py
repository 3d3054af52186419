"""The addresses of the console, below an organisation's own."""

from django.urls import path

from keyseat_issuer.console import (
    api_keys,
    assign,
    holders,
    invites,
    licenses,
    offline,
    offline_files,
    people,
    records,
    sessions,
    usage,
)

urlpatterns = [
    path("licenses", licenses.first_product, name="console_licenses"),
    path("licenses/<str:product>", licenses.product_page, name="console_product"),
    path("licenses/<str:product>/assign", assign.assign, name="console_assign"),
    path("licenses/<str:product>/unassign", holders.unassign, name="console_unassign"),
    path("licenses/<str:product>/transfer", holders.transfer, name="console_transfer"),
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
    path("members", people.members_page, name="console_members"),
    path("members/invite", invites.invite, name="console_invite"),
    path("members/<uuid:member_id>", people.member_page, name="console_member"),
    path("members/<uuid:member_id>/role", people.set_role, name="console_member_role"),
    path("members/<uuid:member_id>/remove", people.remove, name="console_member_remove"),
    path("members/<uuid:member_id>/ownership", people.hand_over, name="console_ownership"),
    path("invitations/<uuid:invitation_id>/again", invites.send_again, name="console_invitation_again"),
    path("invitations/<uuid:invitation_id>/withdraw", invites.withdraw, name="console_invitation_withdraw"),
    path("api-keys", api_keys.keys_page, name="console_api_keys"),
    path("api-keys/new", api_keys.create, name="console_api_key_new"),
    path("api-keys/<uuid:key_id>/revoke", api_keys.revoke, name="console_api_key_revoke"),
]

"""What one version of the trust bundle changes of another, in words that a root key's holder can judge."""

import json

from keyseat_issuer.cli.trust_options import policy_lines
from keyseat_shared.instants import format_instant
from keyseat_shared.keys import PublicKey
from keyseat_shared.trust import TrustBundle, TrustedKey

_TOLD = frozenset(
    {"sunset", "eligible_terms", "products", "lease", "forbidden_evidence", "max_years", "freshness_required"}
)
"""Members of the policy that ``policy_lines`` has words for; another is shown as it is written."""


def root_lines(trust: TrustBundle) -> list[str]:
    """Return who must sign a change: "2 of 3 ed25519 root keys must sign a change"."""
    lines = []
    for quorum in trust.quorums()[1:] or trust.quorums():
        kind = f"{quorum.algorithm} root key(s)" if quorum.algorithm else "root key(s)"
        lines.append(f"{quorum.needed} of {len(quorum.keys)} {kind} must sign a change")
    return lines


def change_lines(old: TrustBundle, new: TrustBundle) -> list[str]:
    """Return each difference as a line, in the order in which they matter."""
    lines = [f"version: {old.version} -> {new.version}, dated {format_instant(new.issued_at)}"]
    if old.fresh_until is not None or new.fresh_until is not None:
        lines.append(f"fresh until: {_until(old)} -> {_until(new)}")
    if old.vendor != new.vendor:
        lines.append(f"vendor: {old.vendor} -> {new.vendor}")
    lines += _root(old, new)
    if old.signatures_required != new.signatures_required:
        lines.append(
            f"a licence needs these signatures: {', '.join(old.signatures_required)}"
            f" -> {', '.join(new.signatures_required)}"
        )
    lines += _keys(old, new)
    lines += _policy(old, new)
    if not [line for line in lines if not line.startswith(("version: ", "fresh until: "))]:
        lines.append("nothing else: keys, root and policy stay as they are")
    # A run of spaces in a name would wrap, so that what follows looks like a line of this list.
    return [line.replace("  ", r"\x20\x20") for line in lines]


def _until(trust: TrustBundle) -> str:
    return "no end" if trust.fresh_until is None else format_instant(trust.fresh_until)


def _root(old: TrustBundle, new: TrustBundle) -> list[str]:
    lines = [f"root key goes: {_named(key)}" for key in old.root if key not in new.root]
    lines += [f"root key comes: {_named(key)}" for key in new.root if key not in old.root]
    if old.threshold != new.threshold:  # the kinds of root keys may each need as many as before
        lines.append(f"root threshold: {old.threshold} -> {new.threshold}")
    if root_lines(old) != root_lines(new):
        lines.append(f"{'; '.join(root_lines(old))} -> {'; '.join(root_lines(new))}")
    return lines


def _keys(old: TrustBundle, new: TrustBundle) -> list[str]:
    before, after = {entry.key: entry for entry in old.keys}, {entry.key: entry for entry in new.keys}
    lines = [f"key comes: {_entry(entry)}" for key, entry in after.items() if key not in before]
    lines += [f"key goes, and all that it signed: {_entry(entry)}" for key, entry in before.items() if key not in after]
    for key, entry in after.items():
        was = before.get(key)
        if was is None or was == entry:
            continue
        if was.status != entry.status:
            lines.append(f"key {key.keyid} ({entry.purpose}): {was.status} -> {entry.status}")
        if was._replace(status=entry.status) != entry:
            lines.append(f"key {key.keyid}: {_entry(was)} -> {_entry(entry)}")
    return lines


def _policy(old: TrustBundle, new: TrustBundle) -> list[str]:
    was, now = policy_lines(old.policy), policy_lines(new.policy)
    lines = [
        f"{name}: {was.get(name, '-')} -> {now.get(name, '-')}"
        for name in dict.fromkeys([*was, *now])
        if was.get(name) != now.get(name)
    ]
    raw, raw_now = old.policy.to_dict(), new.policy.to_dict()
    return lines + [
        f"policy {name}: {json.dumps(raw.get(name))} -> {json.dumps(raw_now.get(name))}"
        for name in dict.fromkeys([*raw, *raw_now])
        if name not in _TOLD and raw.get(name) != raw_now.get(name)
    ]


def _named(key: PublicKey) -> str:
    return f"{key.keyid} ({key.algorithm})"


def _entry(entry: TrustedKey) -> str:
    window = f"{format_instant(entry.valid_from)} to {format_instant(entry.valid_until)}"
    return f"{_named(entry.key)} signs {entry.purpose}s, {window}, {entry.status}"

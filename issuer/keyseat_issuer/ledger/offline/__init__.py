"""Offline licences: rules, preview, issuing one or a thousand, files, test licences."""

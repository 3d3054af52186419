"""The trust bundle at the vendor: made, changed, its versions on disk and on record."""

"""Reconciles ModelDownloads: what is done for an object, when, and how status and Events report it. No kopf here."""

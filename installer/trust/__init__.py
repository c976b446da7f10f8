"""Whom this host trusts and what may come in: the provisioned roots, marks against old media, permits, the clock."""

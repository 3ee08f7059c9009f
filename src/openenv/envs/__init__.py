"""Environments that ship with OpenEnv, one folder each."""

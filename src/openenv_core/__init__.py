"""Deprecated import path."""

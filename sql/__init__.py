"""Migrations and named queries, as package data."""

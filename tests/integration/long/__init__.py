"""Runs of a minute and more, started by hand; each is a script that says what it does."""

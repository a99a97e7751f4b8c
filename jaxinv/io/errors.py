"""Errors of reading and writing: one line that says what was found, what was expected and what to do."""


class InputError(ValueError):
    """A file or an array is not what it should be."""


class OutputError(OSError):
    """A result cannot be written; nothing half-written was left behind."""

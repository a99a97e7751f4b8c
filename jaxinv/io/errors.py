"""The error of reading: one line that says what was found, what was expected and what to do."""


class InputError(ValueError):
    """A file or an array is not what it should be."""

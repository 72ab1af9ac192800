"""The one kind of error that users are meant to read: it names the value, the reason and the fix."""


class InputError(Exception):
    """Something the user gave (recipe, file, model, flag) can't be used. The CLI prints it and exits with code 2."""

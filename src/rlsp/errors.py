"""What users are meant to read instead of a traceback. An error names the value, the reason and the fix."""


class InputError(Exception):
    """Something the user gave (recipe, file, model, flag) can't be used. The CLI prints it and exits with code 2."""


class Paused(Exception):
    """Training stopped itself, as the recipe wanted: the text says why and how to go on. The CLI prints it and exits
    with code 3."""

"""What users are meant to read instead of a traceback. An error names the value, the reason and the fix."""

from __future__ import annotations

from signal import Signals


class InputError(Exception):
    """Something the user gave (recipe, file, model, flag) can't be used. The CLI prints it and exits with code 2."""


class Paused(Exception):
    """Training stopped itself, as the recipe wanted: the text says why and how to go on. The CLI prints it and exits
    with code 3."""


class Diverged(Exception):
    """A loss or gradient became NaN or infinite: the text says where, what was saved and how to go on. The CLI prints
    it and exits with code 4."""


class JobFailed(Exception):
    """An engine that works in processes of its own ended with an error: the text says which and where its log is. The
    CLI prints it and exits with code 5."""


class Stopped(BaseException):
    """Somebody asked the process to end, by Ctrl-C or SIGTERM: no failure, and nothing to be caught on the way. The CLI
    exits with code 128 + the signal's number."""

    def __init__(self, signal: Signals) -> None:
        super().__init__(signal.name)
        self.signal = signal

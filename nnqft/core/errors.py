"""The exceptions that users of the command line are meant to see."""


class InputError(ValueError):
    """Bad input, told as one line: where, what, and what to do about it.

    Raised before any work starts; the command line prints it and exits with 2.
    """

    def __init__(self, where: str, what: str, remedy: str):
        text = f"{where}: {what}; {remedy}"
        super().__init__("".join(c if c.isprintable() else repr(c)[1:-1] for c in text))
        self.where, self.what, self.remedy = where, what, remedy


class DamageError(RuntimeError):
    """Files that are not what was written; the message is one line and names the remedy. Exit status 1."""

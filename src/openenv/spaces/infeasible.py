"""The failure of one keyword: no value is like that."""


class InfeasibleError(ValueError):
    """No value meets a schema's number, length or pattern keywords; `drawing` adds which field it was."""

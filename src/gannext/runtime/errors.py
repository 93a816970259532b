"""The error that a user can cause and mend."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one sentence: what, where, and what to do.

    The command line prints it and exits with code 2.
    """


def unknown(what: str, given: str, known: "list[str] | tuple[str, ...]") -> InputError:
    """The error for a name that is not one of `known`: it lists them and suggests the nearest."""
    from difflib import get_close_matches

    near = get_close_matches(given.lower(), [name.lower() for name in known], n=1, cutoff=0.5)
    hint = next((f"; did you mean {name!r}?" for name in known if near and name.lower() == near[0]), "")
    return InputError(f"unknown {what} {given!r}: the known ones are {', '.join(known)}{hint}")

"""How a command fails: a precise line for people, an exit code for programs, no traceback."""

from __future__ import annotations

from enum import IntEnum

from brikk_shared.errors import BrikkError, Unavailable

EXIT_CODES_HELP = (
    "Exit codes: 0 done; 1 the operation failed; 2 wrong usage; 3 not found; "
    "4 unauthenticated or not permitted; 5 a service did not answer."
)


class ExitCode(IntEnum):
    """What the shell sees."""

    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    UNAVAILABLE = 5


class CommandError(Exception):
    """A command cannot do what it was asked, for a reason that no service gave."""

    def __init__(self, message: str, *, exit_code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


_BY_CODE = {
    "NOT_FOUND": ExitCode.NOT_FOUND,
    "UNAUTHENTICATED": ExitCode.DENIED,
    "PERMISSION_DENIED": ExitCode.DENIED,
    "UNAVAILABLE": ExitCode.UNAVAILABLE,
    "DEADLINE_EXCEEDED": ExitCode.UNAVAILABLE,
}


def exit_code(error: BrikkError | CommandError) -> ExitCode:
    """The exit code that tells programs what kind of failure this is."""
    if isinstance(error, CommandError):
        return error.exit_code
    return _BY_CODE.get(error.code, ExitCode.FAILED)


def describe(error: BrikkError | CommandError) -> str:
    """The failure in one line: what, the reason in capitals, and each field that is wrong."""
    if isinstance(error, CommandError):
        return str(error)
    line = f"{error.message} ({error.reason})"
    if error.violations:
        line += ": " + "; ".join(f"{each.field}: {each.description}" for each in error.violations)
    return line


def complaint(error: BrikkError | CommandError) -> str:
    """What a command says when it fails."""
    hint = "; is `brikk up` running?" if isinstance(error, Unavailable) else ""
    return f"brikk: {describe(error)}{hint}"


def document(error: BrikkError | CommandError) -> dict[str, object]:
    """The failure for `--json`."""
    if isinstance(error, CommandError):
        return {"error": {"message": str(error)}}
    return {
        "error": {
            "code": error.code,
            "reason": str(error.reason),
            "message": error.message,
            "metadata": dict(error.metadata),
            "violations": [
                {"field": each.field, "description": each.description} for each in error.violations
            ],
        }
    }

"""Where an error arose, told without the error's text; imports nothing but types."""

from types import TracebackType

_OURS = ("gateway.", "handlers.")


def place(trace: TracebackType | None) -> str:
    """Return ``module:line`` of the innermost frame of a traceback in this project's code, empty if there is none."""
    found = ""
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.startswith(_OURS):
            found = f"{module}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found

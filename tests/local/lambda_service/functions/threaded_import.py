"""A module whose import starts a thread, so that its process must not be forked."""

import os
import threading
from typing import Any

threading.Thread(target=threading.Event().wait, daemon=True).start()
IMPORTED_BY = os.getpid()


def handler(event: Any, context: Any) -> Any:
    return {"pid": os.getpid(), "imported_by": IMPORTED_BY}

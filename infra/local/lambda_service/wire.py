"""What the service and an execution environment say to each other over their socket.

The service sends one invocation at a time: ``INVOCATION`` header (payload bytes, deadline in ms since the epoch, request
id in ASCII), then the event as JSON. The environment sends frames: ``FRAME`` header (payload bytes, kind, nanoseconds of CPU
that the handler itself took), then JSON. The first frame is ``READY`` or ``INIT_ERROR``; then one ``RESULT`` or ``FUNCTION_ERROR`` for each invocation.

The standard library only, since this is imported into every environment.
"""

from __future__ import annotations

import struct

INVOCATION = struct.Struct(">IQ36s")
FRAME = struct.Struct(">IBQ")

RESULT = 0
FUNCTION_ERROR = 1
READY = 2
INIT_ERROR = 3

"""How long a relay's right to speak with a learner lasts, for those who keep it and those who must know when it is over."""

from typing import Final

LEASE_MS: Final = 6_000
"""A lease that is not renewed for so long is free; a relay renews its own every 2 s."""

"""Tokens of learners, from a command of the tester's own."""

import asyncio
import base64
import json
import shlex
import sys
from typing import Final

WITHIN_S: Final = 60.0
CONVERSATION_S: Final = 960.0
"""A conversation lasts no longer."""
_MOST_WORDS: Final = 200


class TokenError(Exception):
    """A token command gave no token; the text says why, without what it printed."""


def ends_soon(token: str, now_s: float) -> bool:
    """Whether a JSON Web Token may end during a conversation (RFC 7519, ``exp``); what is none never does.

    Args:
        token: is not checked, only read.
        now_s: Unix time.
    """
    try:
        _, payload, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return float(claims["exp"]) < now_s + CONVERSATION_S
    except (ValueError, KeyError, TypeError):
        return False


async def fetch_token(command: str, phone: int) -> str:
    """Run the command for a phone and return what it prints.

    Args:
        command: words as a shell would split them; no shell runs. ``{i}`` is replaced by the phone's number.
        phone: its number.

    Raises:
        TokenError: it failed, took longer than `WITHIN_S`, or printed anything but one word.
    """
    words = [word.replace("{i}", str(phone)) for word in shlex.split(command)]
    if not words:
        raise TokenError("the token command is empty")
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            # Ctrl-C ends the run in order; a token command that dies of it would look like one that fails.
            start_new_session=sys.platform != "win32",
        )
    except OSError as error:
        raise TokenError(f"the token command cannot be run: {error.strerror or type(error).__name__}") from None
    try:
        async with asyncio.timeout(WITHIN_S):
            printed, complaint = await process.communicate()
    except TimeoutError:
        raise TokenError(f"the token command took longer than {WITHIN_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        said = " ".join(complaint.decode(errors="replace").split())[-_MOST_WORDS:]
        raise TokenError(f"the token command failed with {process.returncode}: {said or 'it said nothing'}")
    token = printed.decode(errors="replace").strip()
    if not token or len(token.split()) != 1:
        raise TokenError("the token command printed no token, or more than one word")
    return token

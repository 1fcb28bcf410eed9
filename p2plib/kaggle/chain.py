"""A chain of sessions that goes on by itself until the training is complete."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from p2plib.errors import KaggleError
from p2plib.kaggle import client, watch
from p2plib.kaggle.command import CredentialsError


def go_on(
    newest: Callable[[], str], push_next: Callable[[], None], sessions: int, say: Callable[[str], None] = print
) -> bool:
    """Follow the newest part to its end, push the next one, and so on. No part starts before the former has ended.

    Args:
        newest: the id of the part that was pushed last.
        push_next: pushes the next part.
        sessions: how many parts to push at most.
        say: called with each line.

    Returns:
        Whether the training is complete; if not, all sessions are used.

    Raises:
        KaggleError: a session failed, or Kaggle cannot be asked; no further part was pushed. Called again, this goes
            on with the newest part.
    """
    for left in range(sessions, -1, -1):
        name = newest()
        try:
            with closing(watch.display()) as shown:
                status = watch.follow(name, shown)
        except CredentialsError as error:
            raise CredentialsError(f"{error} A session of {name} runs on; the same command goes on with it.") from error
        if status.state != "COMPLETE":
            raise KaggleError(
                f"{name}: its session ended with {status}, so no further part was pushed; its log above says why, and "
                "`kaggle kernels push -p` with the built folder starts this part again."
            )
        if client.complete(name):
            say(f"{name}: the training is complete; python -m p2plib kaggle pull brings it here")
            return True
        if left:
            push_next()
    say(f"{name}: all {sessions} sessions are used, and the training is not complete; the same command goes on")
    return False

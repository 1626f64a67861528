"""Errors of redis in our words: what went wrong, whether anything was done, and the remedy."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from types import TracebackType

from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    ConnectionError,  # noqa: A004 - as redis calls them
    InvalidResponse,
    NoPermissionError,
    RedisError,
    ResponseError,
    TimeoutError,  # noqa: A004
)

from ...exceptions import BrokerError, BrokerUnavailable, one_line

# What the server's user needs, for `ACL SETUSER`. Commands inside of scripts are checked as all others. Beside Celery
# there are more, which the checks name.
RIGHTS = (
    "~taskq:* &taskq:* +@hash +@list +@set +@sortedset +@scripting +get +set +exists +expire +del +unlink "
    "+publish +subscribe +ping +info +time +select +hello +client"
)

# How an error of the server begins that did nothing and may pass -> what to say.
_PASSING = {
    "OOM": "is full: it has reached its maxmemory. Raise that, or let workers empty its queues",
    "READONLY": "is a replica, which takes no writes; who is the master is asked anew",
    "LOADING": "is reading its data after a start",
    "MASTERDOWN": "is a replica that has lost its master",
    "NOREPLICAS": "has not as many replicas as its min-replicas-to-write wants",
    "MISCONF": "cannot write its data to its disk, and so takes no writes. Look at its log",
    "BUSY": "is busy with a script of somebody",
    "CLUSTERDOWN": "is a cluster that is down",
    "TRYAGAIN": "is a cluster that is being moved",
}
# A script that meets one of them has it in the middle of its text with servers before 7.
_CODE = re.compile(rf"(?:^|-)({'|'.join(_PASSING)}|NOPERM)\b")
LACKS_A_RIGHT = re.compile(
    r"no permissions|NOPERM|can't (?:run this command|access at least one of the keys)|ACL failure"
)


def was_sent(error: BaseException) -> bool:
    """May the command have reached the server? Not where it was a connection that could not be had."""
    return not any(frame.tb_frame.f_code.co_name == "get_connection" for frame in _frames(error.__traceback__))


def explained(error: Exception, where: str, secrets: Collection[str], sent: bool) -> BrokerError:
    """``sent``: may the command have reached the server at ``where``? Shows none of the secrets."""
    said = masked_text(one_line(error), secrets)
    if isinstance(error, (AuthenticationError, AuthenticationWrongNumberOfArgsError)) or "NOAUTH" in said:
        return BrokerError(f'{where} refuses the user or the password: {said}. Correct them in OPTIONS["broker"].')
    if isinstance(error, NoPermissionError) or LACKS_A_RIGHT.search(said):
        return BrokerError(
            f"{where} does not let its user do what is needed: {said}. Give it these rights: {RIGHTS}; "
            "with celery_compatible those too that `manage.py check --database default` names."
        )
    if code := _code(error):
        return BrokerUnavailable(f"{where} {_PASSING[code]}: {said}.", known=True, answers=True)
    if isinstance(error, InvalidResponse):
        return BrokerError(f"{where} does not speak as Redis does: {said} (is it the port of something else?).")
    if isinstance(error, ResponseError):
        return BrokerError(f"{where} refused a command: {said}.")
    if not isinstance(error, (ConnectionError, TimeoutError, OSError)):
        return BrokerError(f"{where} cannot be used: {type(error).__name__}: {said}.")
    if "CERTIFICATE_VERIFY_FAILED" in said:
        remedy = "Name who has signed its certificate, as ?ssl_ca_certs=/path/of/ca.pem, and use the name that is in it"
        return BrokerUnavailable(f"{where} has a certificate that is not trusted: {said}. {remedy}.", known=True)
    if not sent:
        ask = "is the server up, and its address right?"
        return BrokerUnavailable(f"{where} cannot be reached: {said} ({ask}).", known=True)
    return BrokerUnavailable(f"{where} did not answer: {said}. Whether it did what was asked is not known.")


def masked_text(text: str, secrets: Collection[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, "***")
    return text.rstrip(".?")


def is_demoted(error: BaseException) -> bool:
    """Is this what a server says that was the master?"""
    return isinstance(error, RedisError) and (_code(error) == "READONLY" or "previous master" in str(error))


def _code(error: BaseException) -> str:
    """The word of the server that tells which error it is, where the error passes; "" for others."""
    # redis takes the word away where it has a class for it.
    named = {"OutOfMemoryError": "OOM", "ReadOnlyError": "READONLY", "BusyLoadingError": "LOADING"}
    named |= {"MasterDownError": "MASTERDOWN", "ClusterDownError": "CLUSTERDOWN", "TryAgainError": "TRYAGAIN"}
    if "previous master" in str(error):  # of a connection that a sentinel has led to
        return "READONLY"
    found = _CODE.search(str(error)) if isinstance(error, ResponseError) else None
    return named.get(type(error).__name__) or (found[1] if found and found[1] in _PASSING else "")


def _frames(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback:
        yield traceback
        traceback = traceback.tb_next

"""Custody: the gateway's own real credentials, from botocore's whole chain, renewed outside the event loop.

Only the signer asks for them. They are in no repr, no exception and no log; what goes wrong is told by AWS's error code
and a mend, never by a message that quotes a request.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import botocore.session
from botocore import exceptions
from botocore.config import Config

log = logging.getLogger(__name__)

USABLE = 60  # seconds before their end from which credentials are no longer signed with
RETRY = 30.0  # seconds between renewals in the background while the present credentials still hold
LOOK = 1.0  # seconds for which botocore's word that they are fresh is taken: asking costs more than a signature
Needed = Callable[[int | None], bool]


def _without_traceback(record: logging.LogRecord) -> bool:
    """botocore logs a failed renewal with AWS's message, which may quote the signed request."""
    record.exc_info = None
    return True


logging.getLogger("botocore.credentials").addFilter(_without_traceback)


class UpstreamUnavailable(Exception):
    """AWS, or the credentials for it, can't be had. The message says why and how to mend it."""


@dataclass(frozen=True, slots=True)
class Keys:
    """Real credentials, for one signature."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the gateway is to AWS."""

    account: str  # 12 digits
    partition: str  # "aws", "aws-cn", "aws-us-gov" ...


class Upstream:
    """How the gateway is known to AWS. `account` and `identity` block; `credentials` is for the event loop."""

    def __init__(
        self,
        *,
        profile: str | None,
        endpoint: str | None,
        ca: Path | None,
        proxy: str | None,
        connect_timeout: float,
        read_timeout: float,
    ) -> None:
        """Touches nothing yet. Time-outs in seconds; `proxy` is the only one used, whatever the environment says."""
        self._profile = profile
        self._endpoint = endpoint
        self._ca = ca
        self._config = Config(
            connect_timeout=connect_timeout,
            read_timeout=read_timeout,
            proxies={"http": proxy, "https": proxy} if proxy else {},
            retries={"mode": "standard", "total_max_attempts": 3},
        )
        self._lock = threading.Lock()
        self._session: Any = None
        self._needed: Needed = _never
        self._keys: Keys | None = None
        self._flight: asyncio.Future[Keys] | None = None
        self._fresh_until = 0.0  # on the monotonic clock, as the next
        self._retry_at = 0.0

    def __repr__(self) -> str:
        return f"Upstream(profile={self._profile!r}, endpoint={self._endpoint!r})"

    def account(self) -> str:
        """The 12 digits of the account that the credentials are for. Blocking. Raises `UpstreamUnavailable`."""
        return self.identity().account

    def identity(self) -> Identity:
        """Whose the credentials are, by GetCallerIdentity. Blocking. Raises `UpstreamUnavailable`."""
        self._load()
        region = self._session.get_config_variable("region") or "us-east-1"
        try:
            client = self._session.create_client("sts", region_name=region, endpoint_url=self._endpoint)
            answer = client.get_caller_identity()
            # arn:PARTITION:sts::ACCOUNT:assumed-role/NAME/SESSION, or an iam user, root, or a federated user.
            found = Identity(str(answer["Account"]), str(answer["Arn"]).split(":")[1])
        except Exception as error:
            raise UpstreamUnavailable(_explained(error, self._endpoint or f"sts.{region}")) from None
        self._load()  # the call may have renewed them
        return found

    async def credentials(self) -> Keys:
        """The credentials to sign with now. Microseconds when they are at hand; waits only if they are about to end.

        botocore says from 15 minutes before the end that they should be renewed: that happens in the background, once
        for all callers. Raises `UpstreamUnavailable`.
        """
        keys, moment = self._keys, time.monotonic()
        if keys is not None:
            if moment < self._fresh_until:
                return keys
            if not self._needed(None):
                self._fresh_until = moment + LOOK
                return keys
            if not self._needed(USABLE):
                if moment >= self._retry_at:
                    self._retry_at = moment + RETRY
                    self._renew()
                return keys
        return await asyncio.shield(self._renew())

    def _renew(self) -> asyncio.Future[Keys]:
        if self._flight is None or self._flight.done():
            self._flight = asyncio.ensure_future(asyncio.to_thread(self._load))
            self._flight.add_done_callback(_report)
        return self._flight

    def _load(self) -> Keys:
        """Take the credentials from the chain, renewed where botocore finds that needed. Blocking."""
        with self._lock:
            try:
                if self._session is None:
                    session = botocore.session.Session(profile=self._profile)
                    session.set_default_client_config(self._config)
                    if self._ca:
                        session.set_config_variable("ca_bundle", str(self._ca))
                    session.get_config_variable("region")  # an unknown profile shows here
                    self._session = session
                source = self._session.get_credentials()
                if source is None:
                    raise exceptions.NoCredentialsError
                frozen = source.get_frozen_credentials()
                needed: Needed = getattr(source, "refresh_needed", _never)
                if needed(USABLE):
                    raise exceptions.CredentialRetrievalError(provider=source.method, error_msg="expired")
            except Exception as error:
                raise UpstreamUnavailable(_explained(error, self._endpoint or "AWS")) from None
            if not frozen.access_key or not frozen.secret_key:
                raise UpstreamUnavailable(_explained(exceptions.NoCredentialsError(), "AWS"))
            self._keys, self._needed = Keys(frozen.access_key, frozen.secret_key, frozen.token), needed
            return self._keys


def _never(seconds: int | None = None) -> bool:
    """Long-lived keys need no renewal."""
    return False


def _report(flight: asyncio.Future[Keys]) -> None:
    if not flight.cancelled() and (error := flight.exception()):
        log.warning("upstream credentials can't be renewed: %s", error)


def _explained(error: Exception, where: str) -> str:
    """Cause and mend. AWS's own messages are left out: one about a signature quotes the request, token included."""
    kind = type(error).__name__
    match error:
        case exceptions.NoCredentialsError():
            return (
                "no AWS credentials were found: sign in (`aws configure`, `aws sso login`), set AWS_PROFILE, "
                "or name upstream.credentials.profile in the configuration."
            )
        case exceptions.ProfileNotFound():
            return "the AWS profile is not in the AWS configuration: correct upstream.credentials.profile."
        case exceptions.ClientError():
            code = str(error.response.get("Error", {}).get("Code", "unknown"))
            return f"AWS refused the gateway's own credentials ({code}): check them with `aws sts get-caller-identity`."
        case exceptions.SSLError():
            return f"the TLS certificate of {where} is not trusted: set upstream.ca to the file of its authority."
        case exceptions.ProxyConnectionError():
            return "the proxy can't be reached: correct upstream.proxy."
        case exceptions.ConnectionError() | exceptions.HTTPClientError():
            return f"{where} can't be reached ({kind}): check the network, upstream.endpoint and upstream.proxy."
        case exceptions.CredentialRetrievalError() | exceptions.TokenRetrievalError() | exceptions.SSOError():
            return f"the AWS credentials can't be renewed ({kind}): sign in again, such as by `aws sso login`."
        case _:
            return f"the AWS credentials can't be used ({kind}): try `aws sts get-caller-identity`."

"""Custody: the gateway's own real credentials, from botocore's whole chain, renewed outside the event loop.

Only the signer asks for them. They are in no repr, no exception and no log; what goes wrong is told by AWS's error code
and a mend, never by a message that quotes a request.
"""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import botocore.session
from botocore import exceptions
from botocore.config import Config

from addons.identity.renewing import USABLE, Needed, Renewing, UpstreamUnavailable, never
from addons.identity.session import Keys

__all__ = ["Identity", "Upstream", "UpstreamUnavailable", "explained"]

STS_TIMEOUT = 20.0  # seconds at most: agents wait for it


def _without_traceback(record: logging.LogRecord) -> bool:
    """botocore logs a failed renewal with AWS's message, which may quote the signed request."""
    record.exc_info = None
    return True


logging.getLogger("botocore.credentials").addFilter(_without_traceback)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who the gateway is to AWS."""

    account: str  # 12 digits
    partition: str  # "aws", "aws-cn", "aws-us-gov" ...


class Upstream:
    """How the gateway is known to AWS. Only `credentials` is for the event loop; the others block."""

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
            connect_timeout=min(connect_timeout, STS_TIMEOUT),
            read_timeout=min(read_timeout, STS_TIMEOUT),
            proxies={"http": proxy, "https": proxy} if proxy else {},
            retries={"mode": "standard", "total_max_attempts": 3},
        )
        self._lock = threading.Lock()
        self._session: Any = None
        self._sts: Any = None  # a client, made once: it is safe to share between threads
        self._own = Renewing(self._load)

    def __repr__(self) -> str:
        return f"Upstream(profile={self._profile!r}, endpoint={self._endpoint!r})"

    def account(self) -> str:
        """The 12 digits of the account that the credentials are for. Blocking. Raises `UpstreamUnavailable`."""
        return self.identity().account

    def identity(self) -> Identity:
        """Whose the credentials are, by GetCallerIdentity. Blocking. Raises `UpstreamUnavailable`."""
        try:
            answer = self._client().get_caller_identity()
            # arn:PARTITION:sts::ACCOUNT:assumed-role/NAME/SESSION, or an iam user, root, or a federated user.
            return Identity(str(answer["Account"]), str(answer["Arn"]).split(":")[1])
        except UpstreamUnavailable:
            raise
        except Exception as error:
            raise UpstreamUnavailable(explained(error, self._place)) from None

    def assume(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        """AWS's answer to AssumeRole, by the gateway's own credentials. Blocking.

        Raises botocore's `ClientError` where AWS refuses, and `UpstreamUnavailable`.
        """
        client = self._client()
        try:
            answer: Mapping[str, Any] = client.assume_role(**parameters)
            return answer
        except exceptions.ClientError:
            raise
        except Exception as error:
            raise UpstreamUnavailable(explained(error, self._place)) from None

    async def credentials(self) -> Keys:
        """The credentials to sign with now; see `Renewing.keys`.

        botocore says from 15 minutes before the end that they should be renewed. Raises `UpstreamUnavailable`.
        """
        return await self._own.keys()

    @property
    def _place(self) -> str:
        return self._endpoint or "STS"

    def _client(self) -> Any:
        self._load()
        with self._lock:
            if self._sts is None:
                region = self._session.get_config_variable("region") or "us-east-1"
                self._sts = self._session.create_client("sts", region_name=region, endpoint_url=self._endpoint)
            return self._sts

    def _load(self) -> tuple[Keys, Needed]:
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
                needed: Needed = getattr(source, "refresh_needed", never)
                if needed(USABLE):
                    raise exceptions.CredentialRetrievalError(provider=source.method, error_msg="expired")
            except Exception as error:
                raise UpstreamUnavailable(explained(error, self._endpoint or "AWS")) from None
            if not frozen.access_key or not frozen.secret_key:
                raise UpstreamUnavailable(explained(exceptions.NoCredentialsError(), "AWS"))
            return Keys(frozen.access_key, frozen.secret_key, frozen.token), needed


def explained(error: Exception, where: str) -> str:
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

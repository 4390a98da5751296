"""authenticate: who calls. The sign-in is answered here; everything else must be signed by a key that it gave out."""

import asyncio
import functools
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

from mitmproxy import http

from addons import wire
from addons.call import Call, Refusal, passing
from addons.flows import put_response, refuse
from addons.identity import exchange
from addons.identity.refusal import Refused
from addons.identity.session import Session
from addons.services import Services
from addons.wire import sigv4

SIGNING_IN = 4  # tokens verified at one time
LARGEST = 64 << 10  # bytes of a sign-in; a token has 20,000 characters at most


class Authenticate:
    """Fills in `call.session`."""

    def __init__(self, services: Services) -> None:
        self.services = services
        # Not the loop's own threads: tokens that wait for an issuer, good or bad, would keep all else waiting.
        self.threads = ThreadPoolExecutor(SIGNING_IN, "sign-in")

    async def request(self, flow: http.HTTPFlow) -> None:
        """Answer a sign-in, or verify a signature; refuse everything else."""
        if (call := passing(flow)) is None:
            return
        try:
            if call.private:
                await self._sign_in(flow, call)
            else:
                call.session = self._verify(call)
        except Refused as error:
            refuse(flow, call, Refusal("authenticate", error.code, error.message, error.status))
        except sigv4.SignatureRefused as error:
            refuse(flow, call, Refusal("authenticate", error.code, error.message))
        except wire.Undecodable as error:
            text = f"{error.reason}. {error.hint}".strip()
            refuse(flow, call, Refusal("authenticate", "AccessDenied", text))

    def _verify(self, call: Call) -> Session:
        assert call.request
        authorization = sigv4.parse_authorization(call.request)
        call.access_key = authorization.access_key
        now = time.time()
        session, secret = self.services.ring.unseal(authorization.access_key, authorization.token or "", now=now)
        sigv4.verify(call.request, authorization, secret, now=datetime.fromtimestamp(now, UTC))
        if session.role not in self.services.rules.roles(session.groups):
            raise Refused("AccessDenied", f"the groups of {session.subject} no longer have the role {session.role}.")
        return session

    async def _sign_in(self, flow: http.HTTPFlow, call: Call) -> None:
        assert call.request
        if len(call.request.body or b"") > LARGEST:  # before it is read: anybody can send it
            raise Refused("MissingAuthenticationToken", "this request is not signed, and too large for a sign-in.")
        call.decoded = wire.decode(call.request)
        if (call.decoded.service, call.decoded.operation) != ("sts", "AssumeRoleWithWebIdentity"):
            raise Refused(
                "MissingAuthenticationToken",
                "this request is not signed. Sign in with AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN.",
            )
        rules, account = self.services.rules, self.services.account
        assert account
        params = call.decoded.params
        # What is written down is who was asked for, never the token.
        named = {name: value for name, value in params.items() if name in ("RoleArn", "RoleSessionName")}
        call.decoded = replace(call.decoded, params=named)
        try:
            exchanged = functools.partial(
                exchange.answer,
                params,
                verifier=self.services.verifier,
                ring=self.services.ring,
                roles_of=rules.roles,
                account=account,
                duration=int(rules.gateway.config.identity.session.duration),
                now=time.time(),
                request_id=call.id,
            )
            answer, session = await asyncio.get_running_loop().run_in_executor(self.threads, exchanged)
        except Refused as error:
            await self.services.ledger.event(
                "sign-in-failed", code=error.code, message=error.message, sourceIPAddress=call.source
            )
            raise
        # Written before done: a session that nobody can find in the log is never handed out.
        await self.services.ledger.event(
            "sign-in",
            subject=session.subject,
            issuer=session.issuer,
            groups=list(session.groups),
            role=session.role,
            sessionId=session.id,
            sourceIPAddress=call.source,
        )
        call.session, call.answered = session, True
        put_response(flow, answer)

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
from addons.flows import put_request, put_response, refuse
from addons.identity import exchange
from addons.identity.refusal import Refused
from addons.identity.replay import Replays
from addons.identity.session import Session
from addons.services import Services
from addons.upload import stated_hash
from addons.wire import sigv4

SIGNING_IN = 4  # tokens of one issuer verified at one time
LARGEST = 64 << 10  # bytes of a sign-in; a token has 20,000 characters at most


class Authenticate:
    """Fills in `call.session`."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.replays = Replays()
        # Not the loop's own threads: tokens that wait for an issuer, good or bad, would keep all else waiting, and in
        # one pool they would keep the tokens of all other issuers waiting.
        self.threads: dict[str, ThreadPoolExecutor] = {}

    async def aws_call(self, flow: http.HTTPFlow) -> None:
        """Answer a sign-in, or verify a signature; refuse everything else."""
        if (call := passing(flow)) is None:
            return
        try:
            if call.private:
                await self._sign_in(flow, call)
            else:
                call.session = self._verify(flow, call)
        except Refused as error:
            refuse(flow, call, Refusal("authenticate", error.code, error.message, error.status))
        except sigv4.SignatureRefused as error:
            refuse(flow, call, Refusal("authenticate", error.code, error.message))
        except wire.Undecodable as error:
            text = f"{error.reason}. {error.hint}".strip()
            refuse(flow, call, Refusal("authenticate", "AccessDenied", text))

    def _verify(self, flow: http.HTTPFlow, call: Call) -> Session:
        assert call.request
        authorization = sigv4.parse_authorization(call.request)
        call.access_key = authorization.access_key
        now = time.time()
        session, secret = self.services.ring.unseal(authorization.access_key, authorization.token or "", now=now)
        signed = sigv4.verify(call.request, authorization, secret, now=datetime.fromtimestamp(now, UTC))
        session = self.services.current(session)
        self.services.shared.check(session)
        self.services.callers.check(flow.client_conn, session)
        self.replays.check(
            f"{authorization.access_key} {signed}",
            call.request.get("amz-sdk-invocation-id"),
            call.request.get("amz-sdk-request"),
            until=min(sigv4.good_until(authorization), session.expires),
            now=now,
        )
        self.services.shared.saw(session)
        if authorization.expires is not None:
            # From here on it is the call that its URL asks for: nobody sees or sends the URL's own signature again.
            call.request = sigv4.in_headers(call.request, authorization)
            put_request(flow, call.request)
            if call.upload:
                call.upload.stated = stated_hash(call.request.get("x-amz-content-sha256") or "")
        return session

    async def _sign_in(self, flow: http.HTTPFlow, call: Call) -> None:
        assert call.request
        # It goes no further: what shows flows from here on (mitmdump prints URLs) has no token to show.
        flow.request.path, flow.request.raw_content = flow.request.path.partition("?")[0], b""
        if len(call.request.body or b"") > LARGEST:  # before it is read: anybody can send it
            raise Refused("MissingAuthenticationToken", "this request is not signed, and too large for a sign-in.")
        call.decoded = wire.decode(call.request)
        if (call.decoded.service, call.decoded.operation) != ("sts", "AssumeRoleWithWebIdentity"):
            raise Refused(
                "MissingAuthenticationToken",
                "this request is not signed. Sign in with AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN.",
            )
        rules, params = self.services.rules, call.decoded.params
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
                account=self.services.account_of_role(str(params.get("RoleArn"))),
                duration=int(rules.gateway.config.identity.session.duration),
                now=time.time(),
                request_id=call.id,
            )
            issuer = self.services.verifier.issuer_of(exchange.token_of(params))
            if issuer not in self.threads:
                self.threads[issuer] = ThreadPoolExecutor(SIGNING_IN, "sign-in")
            answer, session = await asyncio.get_running_loop().run_in_executor(self.threads[issuer], exchanged)
            self.services.shared.check(session)
            self.services.callers.check(flow.client_conn, session)
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
        self.services.shared.saw(session, signed_in=True)
        call.session, call.answered = session, True
        put_response(flow, answer)

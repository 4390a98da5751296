"""connect: where a connection goes. AWS hosts are read; others are tunnelled unread or refused, by configuration.

CONNECT target, SNI and Host can be three different names, and mitmproxy connects to the first while AWS obeys the
last: they must agree. Destinations are checked by address: no loopback, private or link-local one, no own port.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from mitmproxy import connection, http, tls
from mitmproxy.proxy import server_hooks

from addons import connections, wire
from addons.call import Call, Refusal, attach, call_of
from addons.callers import CHALLENGE, take
from addons.config import Tunnel
from addons.flows import abort, headers_of, refuse, request_of, source_of
from addons.services import Services
from addons.shared import refused
from addons.upload import Upload, stated_hash
from addons.wire import Headers
from addons.wire.sigv4 import presigned

Place = ipaddress.IPv4Address | ipaddress.IPv6Address
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052
COMPATIBLE = ipaddress.IPv6Network("::/96")  # RFC 4291, 2.5.5.1
RESOLVING = 16  # names of tunnels that are looked up at one time
STREAMED = 1 << 20  # bytes from which a body that can stream does; with one of the following headers, any
STREAMS = frozenset({"expect", "transfer-encoding", "x-amz-decoded-content-length"})
ONCE = frozenset({"host", "authorization", "content-length", "content-type", "content-encoding", "transfer-encoding"})


@dataclass(frozen=True, slots=True)
class Target:
    """What a client asked to be connected to."""

    host: str
    port: int
    aws: bool


class Connect:
    """The first step: attaches a `Call` to every request for AWS, and refuses what goes nowhere we serve."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.targets: WeakKeyDictionary[connection.Client, Target] = WeakKeyDictionary()
        self.own_ports: set[int] = set()
        # Not the loop's own threads: an agent's domain whose servers never answer would keep AWS's names waiting.
        self.resolvers = ThreadPoolExecutor(RESOLVING, "resolve")

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Let a client in to an AWS host (refusals come inside TLS, where SDKs show them), or to a listed one."""
        if not flow.live:
            return None
        host, port = flow.request.data.host.lower(), flow.request.port
        if why := await self.services.callers.admit(flow):
            return await self._forbid(flow, why, 407, {"proxy-authenticate": CHALLENGE})
        if flow.client_conn in self.targets:
            return await self._forbid(flow, "A CONNECT inside a CONNECT is not served.")
        if wire.host_kind(host) == "api":
            if port != 443:
                return await self._forbid(flow, "AWS is served on port 443 only.")
            self.targets[flow.client_conn] = Target(host, port, aws=True)
            return None
        if not self._tunnelled(host):
            return await self._forbid(flow, f"{host} is not served: no entry in other_hosts names it.")
        if stop := self.services.callers.stop_of(flow.client_conn):
            return await self._forbid(flow, refused(stop).message)
        self.targets[flow.client_conn] = Target(host, port, aws=False)
        return None

    def close_tunnels(self) -> int:
        """Close the tunnels that nobody may have any more; how many they were."""
        stop_of = self.services.callers.stop_of
        found = [client for client, target in self.targets.items() if not target.aws and stop_of(client)]
        for client in found:
            abort(client)
        return len(found)

    async def _forbid(
        self, flow: http.HTTPFlow, why: str, status: int = 403, headers: Mapping[str, str] | None = None
    ) -> None:
        sent = {"content-type": "text/plain", **(headers or {})}
        flow.response = http.Response.make(status, f"sluicegate: {why}\n", sent)
        await self._note("connect-refused", flow.client_conn, flow.request.data.host, flow.request.port, why=why)

    async def _note(self, kind: str, client: connection.Client, host: str, port: int, **detail: str) -> None:
        await self.services.ledger.event(kind, host=host, port=port, sourceIPAddress=source_of(client), **detail)

    def _tunnelled(self, host: str) -> bool:
        rule = self.services.rules.gateway.config.other_hosts
        if not isinstance(rule, Tunnel):
            return False
        if rule.tunnel == "all":
            # Neither AWS's own hosts that are no API nor bare addresses, which may be AWS's: those must be named.
            return wire.host_kind(host) == "other" and not is_address(host)
        return any(host == p or (p.startswith("*.") and host.endswith(p[1:])) for p in rule.tunnel)

    async def tls_clienthello(self, data: tls.ClientHelloData) -> None:
        """Pass a tunnel's TLS through unread; its server name must be the one that was asked for."""
        client = data.context.client
        target = self.targets.get(client)
        if target and not target.aws:
            if (data.client_hello.sni or target.host).lower() != target.host:
                abort(client)
                await self._note(
                    "tunnel-refused", client, target.host, target.port, why="CONNECT and SNI name different hosts"
                )
                return
            await self._note("tunnel", client, target.host, target.port)
            data.ignore_connection = True  # only now that it is written down

    async def server_connect(self, data: server_hooks.ServerConnectionHookData) -> None:
        """The last check before a byte leaves: where the name really leads."""
        if data.server.address is None:
            return
        host, port = data.server.address[:2]
        upstream = self.services.rules.gateway.config.upstream
        target = self.targets.get(data.client)
        chosen = [url.address for url in (upstream.endpoint, upstream.proxy) if url]
        if (host, port) in chosen and target and target.aws:
            return  # the operator's own choice, for signed calls: moto, LocalStack, a VPC endpoint, the company's proxy
        if problem := await self._unreachable(data, target, host, port):
            data.server.error = f"sluicegate: {problem}"
            if target and not target.aws:  # a call of AWS's has a line of its own
                await self._note("tunnel-refused", data.client, host, port, why=problem)

    async def _unreachable(
        self, data: server_hooks.ServerConnectionHookData, target: Target | None, host: str, port: int
    ) -> str | None:
        """Why a connection can't be made, or None."""
        wait = self.services.rules.gateway.config.upstream.connect_timeout
        try:
            async with asyncio.timeout(wait):
                threads = self.resolvers if target and not target.aws else None
                places = await asyncio.get_running_loop().run_in_executor(threads, addresses, host, port)
        except (OSError, TimeoutError, UnicodeError):
            return f"{host} has no address"
        for place in places:
            if problem := self._off_limits(target, host, port, place):
                return problem
        if target and not target.aws:
            # What was checked is what is connected to, whatever the name resolves to next.
            data.server.address = (str(places[0]), port)
        return None

    def _off_limits(self, target: Target | None, host: str, port: int, place: Place) -> str | None:
        forms = list(forms_of(place))
        if port in self.own_ports and any(form.is_loopback or is_own(form) for form in forms):
            return "this port is the gateway's own"
        place = next((form for form in forms if not is_public(form)), place)
        if is_public(place):
            return None
        if target and target.aws and place.is_private and not (place.is_loopback or place.is_link_local):
            return None  # a VPC endpoint under AWS's own name; its certificate is checked against that name
        rule = self.services.rules.gateway.config.other_hosts
        if isinstance(rule, Tunnel) and rule.tunnel != "all" and host in rule.tunnel:
            return None
        return f"{host} leads to {place}, which is not a public address"

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Attach the call; refuse requests whose names, framing or size are not plain; see whether the body streams."""
        if not flow.live:
            return
        take(flow)
        config, headers = self.services.rules.gateway.config, headers_of(flow.request)
        call, target = attach(flow, Call(source_of(flow.client_conn), config.access_request)), self._target(flow)
        names = {name.lower(): value for name, value in headers}
        # Sign-ins carry a token and a minted secret: unsigned calls stay out of every view from the first moment.
        call.private = "authorization" not in names and not presigned(flow.request.path)
        if problem := unsafe(flow, target, headers, names):
            refuse(flow, call, Refusal("connect", "AccessDenied", problem))
            return
        assert target
        size, limit = body_size(names), config.limits.body
        comes = "transfer-encoding" in names or names.get("content-length", "").strip("0")
        if comes and (size > STREAMED or not names.keys().isdisjoint(STREAMS)):
            head = request_of(flow, target.host)
            if wire.streams(head):
                call.request, limit = head, config.limits.upload
                stated = stated_hash(names.get("x-amz-content-sha256", ""))
                call.upload = Upload(limit + (limit >> 4), stated)  # with the framing of its chunks
                connections.hold_back(flow.client_conn)
        if size > limit:
            text = f"bodies over {limit} bytes are refused."
            refuse(flow, call, Refusal("connect", "RequestEntityTooLarge", text, 413))

    def _target(self, flow: http.HTTPFlow) -> Target | None:
        return self.targets.get(flow.client_conn)

    def request(self, flow: http.HTTPFlow) -> None:
        """Take down the whole request, if its head was not all of it that counts."""
        call, target = call_of(flow), self._target(flow)
        if not call or not target or call.refusal or call.upload:
            return
        call.request = request_of(flow, target.host)
        if flow.response is not None:  # some other addon of mitmproxy's answered: that is no answer of AWS's
            refuse(flow, call, Refusal("connect", "AccessDenied", "this path is not served."))


def is_own(place: Place) -> bool:
    """Whether an address is this machine's: a socket can be bound to no other."""
    family = socket.AF_INET6 if place.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(place), 0))
        except OSError:
            return False
    return True


def addresses(host: str, port: int) -> list[Place]:
    """The addresses of a name. Blocks. Raises OSError, and UnicodeError for what can be no name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in found]


def forms_of(place: Place) -> Iterator[Place]:
    """An address, and the IPv4 ones that stand in it: it may be them that it leads to."""
    yield place
    if isinstance(place, ipaddress.IPv6Address):
        if place in NAT64 or (place in COMPATIBLE and int(place) > 0xFFFF):
            yield ipaddress.IPv4Address(int(place) & 0xFFFFFFFF)
        yield from (form for form in (place.ipv4_mapped, place.sixtofour) if form)


def is_public(place: Place) -> bool:
    """Whether an address is one of the internet's."""
    if isinstance(place, ipaddress.IPv6Address):
        if place.ipv4_mapped:
            return is_public(place.ipv4_mapped)
        if place.is_site_local or place in COMPATIBLE:
            return False
    return place.is_global and not place.is_multicast


def is_address(host: str) -> bool:
    """Whether a host is an IP address and no name, in the forms of inet_aton(3) too: resolvers take `0x7f.1`."""
    for read in (socket.inet_aton, ipaddress.ip_address):
        with contextlib.suppress(OSError, ValueError):
            read(host.strip("[]"))
            return True
    return False


def body_size(names: Mapping[str, str]) -> int:
    """The body's announced length: of the payload where it is chunked for AWS, else of the message; else 0."""
    for name in ("content-length", "x-amz-decoded-content-length"):
        value = names.get(name, "")
        if value.isascii() and value.isdigit():
            return int(value)
    return 0  # counted while it arrives: addons/bounds.py, addons/upload.py


def unsafe(flow: http.HTTPFlow, target: Target | None, headers: Headers, names: Mapping[str, str]) -> str | None:
    """Why a request's head can't be served, or None. Every name must be the same, every framing header single.

    `names`: the headers by their lower-case names.
    """
    request = flow.request
    if target is None:
        return "only https is served: set HTTPS_PROXY and let the SDK use its https endpoint."
    if not target.aws:
        return "only TLS is passed through a tunnel."
    if request.data.method != request.method.encode("utf-8", "surrogateescape"):
        return "the method must be in capitals."  # mitmproxy reads it so, and sends it as it came
    if not flow.client_conn.tls_established or request.http_version != "HTTP/1.1":
        return "AWS is served over TLS and HTTP/1.1 only."
    if len(names) != len(headers):
        counts = Counter(name.lower() for name, _ in headers)
        for name in ONCE:
            if counts[name] > 1:
                return f"the header {name} stands more than once."
    if "transfer-encoding" in names and "content-length" in names:
        return "Content-Length and Transfer-Encoding together are refused."
    host = (request.host_header or "").lower()
    named = {host.removesuffix(":443"), (flow.client_conn.sni or "").lower()}
    if request.authority:
        named.add(request.authority.lower().removesuffix(":443"))
    if named != {target.host}:
        return "CONNECT, SNI and Host must name the same host."
    if not request.path.startswith("/"):
        return "the request target must be a path."
    return None

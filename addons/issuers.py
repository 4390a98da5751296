"""From the configuration to the issuers that sign agents in."""

from addons import config
from addons.identity.local import LocalIssuer
from addons.identity.oidc import Issuer
from policy.problems import Invalid, Problem


def issuers_of(gateway: config.Gateway) -> list[Issuer]:
    """Every issuer. Reads the built-in one's key, which is made at first; raises `Invalid` if it can't be trusted."""
    found = [issuer_of(gateway, one) for one in gateway.config.identity.issuers]
    if gateway.config.identity.local:
        try:
            found.append(LocalIssuer.open(gateway.state).issuer())
        except ValueError as error:
            raise Invalid([Problem(str(gateway.file), 0, str(error))]) from None
    return found


def issuer_of(gateway: config.Gateway, one: config.OidcIssuer) -> Issuer:
    """One OIDC provider."""
    return Issuer(
        issuer=str(one.issuer),
        audience=one.audience,
        groups_claim=one.groups_claim,
        groups_from=tuple(one.groups_from),
        jwks_uri=str(one.jwks_uri) if one.jwks_uri else None,
        ca_bundle=gateway.file.parent / one.ca if one.ca else None,
    )

"""The addresses of a deployment that are believed what others are not: its proxies, its gateways.

Spec: 35 §3.1 ``tls.trusted_proxies``, §4.4.
"""

import ipaddress
from collections.abc import Iterable


class TrustedAddresses:
    """Addresses and networks; none of them trusts nobody. Spec: 35 §3.1, §4.4."""

    def __init__(self, addresses: Iterable[str] = ()) -> None:
        self._networks = tuple(ipaddress.ip_network(address, strict=False) for address in addresses)

    def __contains__(self, address: object) -> bool:
        """Whether the address of a peer, as its connection has it, is one of them."""
        if not self._networks or not isinstance(address, str):
            return False
        try:
            peer = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(peer, ipaddress.IPv6Address) and peer.ipv4_mapped is not None:
            # So a listener for both versions of IP sees those of the older one.
            peer = peer.ipv4_mapped
        return any(peer in network for network in self._networks)

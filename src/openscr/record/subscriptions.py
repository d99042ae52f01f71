"""Who is told of an organisation's new alerts: officers register an address, for the types that they may handle.

What is sent there names no patient and no user; `openscr.delivery.notifications` sends it. Spec: 80 §5.1, §5.3.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from openscr.access.policy import AccessPolicy, Authorisation, Operation
from openscr.directory.model import CurrentDirectory
from openscr.errors import refusal
from openscr.identifiers import Clock, UuidFactory, is_loopback, slot_of
from openscr.record.audit import audit_entry
from openscr.record.decision import ACCEPTED, ACCESS_DENIED
from openscr.record.settling import write_until_known
from openscr.spine import AckType, Caller, MessageIds, Outcome
from openscr.store.alert_records import Subscription
from openscr.store.interface import Store, Transaction

MOST_SUBSCRIPTIONS: Final = 50
"""Subscriptions of one organisation at most."""

_EMAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\Z")
_OPERATIONS: Final = {"1": Operation.HANDLE_RELATIONSHIP_ALERTS, "2": Operation.HANDLE_ACCESS_ALERTS}


class Channel(StrEnum):
    """How an officer is told."""

    WEBHOOK = "webhook"
    EMAIL = "email"


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The answer to a request about subscriptions; a refusal has none."""

    outcome: Outcome
    subscriptions: tuple[Subscription, ...] = ()


@dataclass(frozen=True, slots=True)
class Reachable:
    """Where notices may go: whether mail can be sent at all, and the hosts that may be posted to.

    Whatever else an officer names is refused: the service would otherwise reach for anybody into the network it is in.
    ``local`` lets plain HTTP to this machine pass, for test environments.
    """

    mail: bool = False
    hosts: frozenset[str] = frozenset()
    local: bool = False

    def fault(self, channel: Channel, address: str) -> str:
        """Return why an address cannot be used, in words for the officer; empty when it can."""
        if len(address) > 500:
            return "The address is too long"
        if channel is Channel.EMAIL:
            if not self.mail:
                return "This service has no mail server: ask its operator to set smtp"
            return "" if _EMAIL.match(address) else "This is not an e-mail address"
        try:
            parts = urlsplit(address)
            host, port = (parts.hostname or "").lower(), parts.port
        except ValueError:
            return "This is not the address of a web server"
        if not host or parts.username or parts.fragment or port == 0 or not address.isprintable() or " " in address:
            return "This is not the address of a web server"
        if self.local and is_loopback(host) and parts.scheme in ("http", "https"):
            return ""
        if parts.scheme != "https":
            return "The address of a webhook begins with https://"
        if host not in self.hosts:
            return "Notices may not be posted to this host: ask the operator to add it to webhook_hosts"
        return ""


class Subscriptions:
    """The subscriptions of all organisations, for their officers."""

    def __init__(
        self,
        store: Store,
        directory: CurrentDirectory,
        policy: AccessPolicy,
        reachable: Reachable,
        *,
        clock: Clock,
        mint: UuidFactory,
    ) -> None:
        self._store = store
        self._directory = directory
        self._policy = policy
        self.reachable = reachable
        self._clock = clock
        self._mint = mint

    async def subscribe(
        self, caller: Caller, ids: MessageIds, channel: Channel, address: str, details: Mapping[str, str] | None = None
    ) -> Subscribed:
        """Let an officer be told at an address that `Reachable.fault` accepts; the answer has the secret, once.

        Raises: `StoreError`. Spec: 80 §5.3.
        """
        types, authorisation = self._types(caller)
        person = authorisation.person
        if person is None or not types:
            return await self._refused("alert subscribe", caller, ids, authorisation, details)
        if self.reachable.fault(channel, address):
            raise ValueError("the address was to be looked at before")
        if len(await self._store.read_subscriptions(authorisation.organisation)) >= MOST_SUBSCRIPTIONS:
            return await self._refused(
                "alert subscribe", caller, ids, authorisation, details, reason="too_many_subscriptions"
            )
        subscription = Subscription(
            id=self._mint(),
            organisation=authorisation.organisation,
            kind=channel.value,
            address=address,
            secret=secrets.token_hex(32) if channel is Channel.WEBHOOK else "",
            types=types,
            user_id=person.user_id,
            role_profile_id=person.role_profile_id,
            created_at=self._clock(),
        )
        said = {"subscription": subscription.id, "channel": channel.value, **(details or {})}
        await self._keep("alert subscribe", ACCEPTED, caller, ids, authorisation, said)
        await write_until_known(lambda: self._store.write_subscription(subscription))
        return Subscribed(ACCEPTED, (subscription,))

    async def list(self, caller: Caller, ids: MessageIds, details: Mapping[str, str] | None = None) -> Subscribed:
        """Return the subscriptions of the officer's organisation. Raises: `StoreError`."""
        types, authorisation = self._types(caller)
        if not types:
            return await self._refused("alert subscriptions", caller, ids, authorisation, details)
        await self._keep("alert subscriptions", ACCEPTED, caller, ids, authorisation, details or {})
        return Subscribed(ACCEPTED, tuple(await self._store.read_subscriptions(authorisation.organisation)))

    async def remove(
        self, caller: Caller, ids: MessageIds, id: str, details: Mapping[str, str] | None = None
    ) -> Subscribed:
        """Forget a subscription of the officer's organisation; none of another's. Raises: `StoreError`."""
        types, authorisation = self._types(caller)
        own = await self._store.read_subscriptions(authorisation.organisation) if types else []
        said = {"subscription": id[:64], **(details or {})}
        if not any(each.id == id for each in own):
            return await self._refused("alert unsubscribe", caller, ids, authorisation, said, reason="unknown")
        await self._keep("alert unsubscribe", ACCEPTED, caller, ids, authorisation, said)
        await write_until_known(lambda: self._store.remove_subscription(id))
        return Subscribed(ACCEPTED)

    def _types(self, caller: Caller) -> tuple[tuple[str, ...], Authorisation]:
        """Return the alert types that the caller may handle."""
        directory = self._directory.snapshot
        decided = {kind: self._policy.authorise(directory, each, caller) for kind, each in _OPERATIONS.items()}
        types = tuple(kind for kind, each in decided.items() if each.allowed and each.person and each.organisation)
        return types, decided[types[0] if types else "2"]

    async def _refused(
        self,
        action: str,
        caller: Caller,
        ids: MessageIds,
        authorisation: Authorisation,
        details: Mapping[str, str] | None,
        *,
        reason: str = "",
    ) -> Subscribed:
        outcome = Outcome(AckType.ERROR, refusal(ACCESS_DENIED))
        await self._keep(action, outcome, caller, ids, authorisation, details or {}, reason=reason)
        return Subscribed(outcome)

    async def _keep(
        self,
        action: str,
        outcome: Outcome,
        caller: Caller,
        ids: MessageIds,
        authorisation: Authorisation,
        details: Mapping[str, str],
        *,
        reason: str = "",
    ) -> None:
        entry = audit_entry(
            action,
            outcome,
            None,
            self._clock(),
            caller=caller,
            ids=ids,
            authorisation=authorisation,
            reason=authorisation.reason or reason,
            details=details,
        )

        async def work(transaction: Transaction) -> None:
            await transaction.append_audit(entry)

        await self._store.transact(slot_of(caller.party_key), work)

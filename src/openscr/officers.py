"""What privacy officers and auditors work with, built once: alerts, subscriptions, the audit, and who is told.

Spec: 35 §6, §7; 80 §5.
"""

import ssl
from collections.abc import Callable

from openscr.access.policy import AccessPolicy
from openscr.delivery.carriers import HttpCarrier
from openscr.delivery.notification_senders import SECONDS, MailSender, WebhookSender, read_mail_server
from openscr.delivery.notifications import Notifier, Sender
from openscr.directory.model import CurrentDirectory
from openscr.errors import ConfigurationError
from openscr.identifiers import Clock, UuidFactory
from openscr.metrics import Metrics
from openscr.record.alerts import Alerts
from openscr.record.audit_search import AuditSearch
from openscr.record.subscriptions import Channel, Reachable, Subscriptions
from openscr.settings import Settings
from openscr.store.interface import Store


class Officers:
    """The verbs of officers over one store, and what tells them of new alerts. `start` it, then `stop` it."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        directory: CurrentDirectory,
        policy: AccessPolicy,
        metrics: Metrics,
        *,
        leads: Callable[[], bool],
        clock: Clock,
        mint: UuidFactory,
    ) -> None:
        self.alerts = Alerts(store, directory, policy, clock)
        self.audit = AuditSearch(store, directory, policy, clock)
        self.subscriptions = Subscriptions(store, directory, policy, reachable(settings), clock=clock, mint=mint)
        self._webhooks = WebhookSender(HttpCarrier(None, timeout=SECONDS), clock)
        senders: dict[str, Sender] = {Channel.WEBHOOK: self._webhooks}
        if settings.smtp is not None:
            server = read_mail_server(settings.smtp)
            senders[Channel.EMAIL] = MailSender(server, settings.smtp_from, _mail_tls(settings), clock=clock)
        self._notifier = Notifier(store, senders, metrics, clock=clock, leads=leads)

    def start(self) -> None:
        """Begin to tell officers of alerts."""
        self._notifier.start()

    async def stop(self) -> None:
        """Stop telling; whoever was not told yet is told after the next start."""
        await self._notifier.stop()
        await self._webhooks.close()


def reachable(settings: Settings) -> Reachable:
    """Return where notices may go in this deployment."""
    hosts = frozenset(host.lower() for host in settings.webhook_hosts)
    return Reachable(settings.smtp is not None, hosts, local=settings.test_environment)


def _mail_tls(settings: Settings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.smtp_ca)
    except OSError as error:
        raise ConfigurationError(f"smtp_ca {settings.smtp_ca} cannot be used: {error.strerror or error}") from error

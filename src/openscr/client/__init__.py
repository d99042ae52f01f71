"""The verbs of `openscr.spine` against a remote Spine, over HL7 V3.

::

    from openscr.client import Client

    with Client.demo() as spine:                       # openscr serve --demo runs beside
        print(spine.upload_document(open("summary.xml", "rb").read()))
        for event in spine.list_events("9990012318").events:
            print(event.event_id, event.status.name)
        print(spine.text("9990012318"))

What there is:

* `Client`: verb by verb, blocking. `SpineClient`: the same for asyncio, where `openscr.spine.Spine` is wanted.
* `Profile`, `Route`: who sends, and where messages go. `Tls`: our certificate, key and authority.
* `Callback`: the listener for application acknowledgements.
* `Submission`: what became of an upload or a withdrawal. `Posting`: what makes it the same message when sent once more.
* `Refusal`, `refusal_of`, `RecordRefusal`: what a refusal means. `latest_summary`: the current one of a list.
* `read_extended_list`: the extended event list of an SCR application, from its bytes.
* `Check`: how closely an upload is looked at before it is sent.
* `Exchange`: one HTTP exchange, for observers.

Spec: 00 §6.1; 20 §16.
"""

from openscr.client.blocking import Client
from openscr.client.callback import Callback
from openscr.client.connection import Exchange, Tls
from openscr.client.profile import Profile, Route
from openscr.client.refusals import RecordRefusal, Refusal, latest_summary, refusal_of
from openscr.client.soap import read_extended_list
from openscr.client.spine import Posting, SpineClient, Submission
from openscr.hl7.presend import Check

__all__ = [
    "Callback",
    "Check",
    "Client",
    "Exchange",
    "Posting",
    "Profile",
    "RecordRefusal",
    "Refusal",
    "Route",
    "SpineClient",
    "Submission",
    "Tls",
    "latest_summary",
    "read_extended_list",
    "refusal_of",
]

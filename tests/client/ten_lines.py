import sys
import uuid

from openscr.client import Client

with Client.demo(*sys.argv[1:]) as spine:  # openscr serve --demo runs beside
    found = spine.retrieve("9990000026")
    document = found.document.replace(found.event.event_id.encode(), str(uuid.uuid4()).upper().encode())
    print(spine.upload_document(document))
    for event in spine.list_events("9990000026").events:
        print(event.event_id, event.status.name)
    print(spine.text("9990000026"))

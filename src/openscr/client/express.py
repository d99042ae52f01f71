"""Express messages: a query goes out once over ebXML, its answer comes back as a message of its own.

Nothing is acknowledged and nothing is repeated: who gets no answer in time asks again, with a new message.

Spec: 20 §9.5; 40 §6.4 (column express), §7.2.
"""

from openscr.client.answers import Answers
from openscr.client.connection import Connection
from openscr.client.reliable import ReliableMessage, refused
from openscr.errors import DeliveryError
from openscr.transport.mime import CLIENT_CONTENT_TYPE
from openscr.transport.verdict import Verdict, judge_express


async def ask(connection: Connection, message: ReliableMessage, answers: Answers, seconds: float) -> bytes:
    """Send a query and return the HL7 document that answers it.

    Raises: `AccessRefused` and `DeliveryError` when the message is refused, when its answer goes to an endpoint that is
    not ours, and when none has come within ``seconds``. Spec: 40 §7.2.
    """
    expectation = await answers.expect(message.message_id)
    try:
        headers = {"SOAPAction": f'"{message.soap_action}"', "Content-Type": CLIENT_CONTENT_TYPE}
        status, body = await connection.post(message.route.path, headers, message.body)
        result = judge_express(status, body)
        if result.verdict is not Verdict.DELIVERED:
            raise refused(result)
        answer = await expectation.answer(seconds)
    finally:
        expectation.forget()
    if answer is None:
        raise DeliveryError("the answers of this party go to an endpoint that is not ours; ask over SOAP, or listen")
    return answer

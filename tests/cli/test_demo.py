"""`openscr demo`: the story of a record, played to its end. Spec: 00 §4."""

from cli.conftest import Run
from serving import DemoServer

STEPS = (
    "A test patient without a record",
    "Initial upload",
    "Replacement",
    "List: both versions",
    "Retrieve",
    "Consent No",
    "List: refused",
    "Legal override",
    "Consent Ask",
    "Withdrawal",
    "List: nothing current",
)


def test_it_plays_at_a_service_of_its_own_over_mutual_tls(openscr: Run) -> None:
    """Whatever the caller's own settings are: the service of the story has nothing to do with them."""
    ended = openscr("demo", OPENSCR_STORE="postgresql://nowhere/none", OPENSCR_WEB="nonsense").done()
    assert ended.err == "Every step ended as it should.\n"
    assert ended.out.count("✓") == len(STEPS)
    positions = [ended.out.index(f"  {step}") for step in STEPS]
    assert positions == sorted(positions)
    assert "https://127.0.0.1:" in ended.out
    assert "alerts raised: type 2, reason 2, user 555000000501" in ended.out
    assert "application acknowledgement AA GP Summary withdrawal successful" in ended.out


def test_it_plays_at_a_running_service_again_and_again(openscr: Run, demo_server: DemoServer) -> None:
    for _ in range(2):
        form = openscr("demo", "--at", demo_server.web, "--json").done().json
        assert form["ok"] is True
        assert len(form["steps"]) == len(STEPS)
        assert all(step["title"].startswith(title) for step, title in zip(form["steps"], STEPS, strict=True))
        assert all(step["ok"] and step["exchanges"] for step in form["steps"])


def test_over_mutual_tls_the_record_itself_tells_what_was_decided(openscr: Run, demo_server: DemoServer) -> None:
    """The spine listener has no inbox; the viewer's certificate is found beside the one given."""
    cert, key, ca = demo_server.certificate("gp.client.test")
    ended = openscr("demo", "--at", demo_server.spine, "--cert", cert, "--key", key, "--ca", ca).done()
    assert "the list shows the event as Withdrawn" in ended.out


def test_every_message_is_shown_when_details_are_asked_for(openscr: Run, demo_server: DemoServer) -> None:
    ended = openscr("demo", "--at", demo_server.web, "-v").done()
    assert "<eb:MessageHeader" in ended.out
    assert "<dissentOverride>" in ended.out


def test_a_story_that_ends_badly_ends_with_one(openscr: Run, demo_server: DemoServer) -> None:
    """A GP system with the hospital's certificate is refused in the first step, and the story ends there."""
    cert, key, ca = demo_server.certificate("viewer.client.test")
    ended = openscr("demo", "--at", demo_server.spine, "--cert", cert, "--key", key, "--ca", ca)
    ended.failed("did not end as it should")
    assert ended.out.count("✗") == 1
    assert "SOAP fault 300" in ended.out
    openscr("demo", "--at", "http://127.0.0.1:9").failed("nothing answers")

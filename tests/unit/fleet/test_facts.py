"""What messages of hosts become: facts about each, and sums."""

from engine.facts import Retraction
from engine.facts.fleet import HostStatus
from engine.fleet.facts import FleetFacts, registry_of
from engine.fleet.view import FleetView
from tests.unit.fleet.support import Hosts


def test_an_alert_is_a_fact_until_it_is_resolved() -> None:
    """It comes with the host's labels, once while nothing changes but its count, and is retracted with its end."""
    hosts = Hosts(labels={"web-*": {"rack": "7"}})
    hosts.alert("web-1", "storm", starts_at=1_000_000, evidence=[{"fact": "container", "image": "reg.example/app:1"}])
    (fact,) = hosts.of("host_alert")
    assert (fact.host, fact.rule, fact.key, fact.severity) == ("web-1", "storm", "k", "error")
    assert fact.labels == {"registry": "reg.example", "rack": "7"}
    hosts.alert("web-1", "storm", starts_at=1_000_000, count=2)
    assert hosts.of("host_alert") == []
    hosts.alert("web-1", "storm", starts_at=1_000_000, annotations={"acknowledged_by": "kim"})
    assert hosts.of("host_alert")[0].acknowledged
    hosts.alert("web-1", "storm", firing=False)
    gone = [fact for fact in hosts.take() if isinstance(fact, Retraction)]
    assert {(fact.retract, fact.key) for fact in gone} == {("host_alert", "web-1|storm|k"), ("fleet_alert", "storm")}


def test_a_host_is_stale_by_our_clock_and_only_while_we_hear() -> None:
    """Two minutes of silence, counted from when messages reach us; the last will makes it offline at once."""
    hosts = Hosts()
    hosts.status("web-1", mode="act")
    assert hosts.of("host_status")[0].condition == "online"
    hosts.advance(121)
    assert hosts.of("host_status", hearing=False) == []
    assert hosts.of("host_status") == [], "we hear again only now"
    hosts.advance(121)
    assert hosts.of("host_status")[0].condition == "stale"
    hosts.status("web-1", mode="act")
    assert hosts.of("host_status")[0].condition == "online"
    hosts.status("web-1", state="offline")
    (fact,) = hosts.of("host_status")
    assert (fact.condition, fact.mode) == ("offline", "act")


def test_fifty_hosts_with_one_storm_are_one_fact() -> None:
    """Its number is renewed when it changes by a tenth, not with every host."""
    hosts = Hosts()
    for number in range(100):
        hosts.status(f"web-{number}")
    for number in range(50):
        hosts.alert(f"web-{number}", "storm")
    (fact,) = hosts.of("fleet_alert")
    assert (fact.rule, fact.hosts, fact.share, fact.fleet_size) == ("storm", 50, 0.5, 100)
    hosts.alert("web-50", "storm")
    assert hosts.of("fleet_alert") == []
    for number in range(51, 60):
        hosts.alert(f"web-{number}", "storm")
    assert [fact.hosts for fact in hosts.of("fleet_alert")] == [60]


def test_a_rollout_names_the_version_and_counts_only_what_began_since() -> None:
    """Hosts that had the alert before, or fire by the old rules, do not count; neither do hosts that did not change."""
    hosts = Hosts()
    for number in range(10):
        hosts.status(f"web-{number}", rules_version="old")
    hosts.alert("web-0", "new-rule", rules_version="old")
    hosts.advance(3600)
    for number in range(8):
        hosts.status(f"web-{number}", rules_version="new")
    hosts.advance(5)
    for number in range(1, 4):
        hosts.alert(f"web-{number}", "new-rule", rules_version="new")
    hosts.alert("web-9", "new-rule", rules_version="old")
    (fact,) = hosts.of("fleet_rollout")
    assert (fact.rules_version, fact.rule, fact.hosts, fact.got, fact.share) == ("new", "new-rule", 3, 8, 0.375)


def test_what_most_of_the_hosts_have_in_common_is_named_with_its_lift() -> None:
    """A disk model that one host in ten has, and all that are in trouble."""
    hosts = Hosts(labels={"old-*": {"disk": "WD40"}})
    for number in range(45):
        hosts.status(f"new-{number}")
    for number in range(5):
        hosts.status(f"old-{number}")
        hosts.alert(f"old-{number}", "disk-slow")
    (fact,) = hosts.of("fleet_label")
    assert (fact.label, fact.value, fact.hosts, fact.share, fact.lift) == ("disk", "WD40", 5, 1.0, 10.0)


def test_hosts_that_act_by_one_rule_are_counted_for_ten_minutes() -> None:
    """Looking is no acting, a host counts once, and after ten minutes it is over."""
    hosts = Hosts()
    for number in range(4):
        hosts.status(f"web-{number}")
    hosts.action("web-0", "remove_container", "cleanup")
    hosts.action("web-0", "remove_container", "cleanup")
    hosts.action("web-1", "remove_container", "cleanup")
    hosts.action("web-2", "inspect_mounts", "cleanup")
    facts = hosts.take()
    (acting,) = [fact for fact in facts if getattr(fact, "fact_kind", "") == "fleet_acting"]
    assert (acting.rule, acting.action, acting.hosts, acting.share) == ("cleanup", "remove_container", 2, 0.5)
    assert len([fact for fact in facts if getattr(fact, "fact_kind", "") == "host_action"]) == 4
    hosts.advance(601)
    assert [fact.key for fact in hosts.take() if isinstance(fact, Retraction)] == ["cleanup|remove_container"]


def test_the_fleets_own_messages_are_no_hosts() -> None:
    """Its alerts would raise alerts about themselves; its engines have a fact of their own."""
    hosts = Hosts()
    hosts.status("fleet@b")
    hosts.status("fleet@b", state="offline")
    hosts.alert("fleet", "fleet-breaker")
    facts = {fact.fact_kind: fact for fact in hosts.take() if not isinstance(fact, Retraction)}
    assert set(facts) == {"fleet", "fleet_engine"}
    assert (facts["fleet"].hosts, facts["fleet_engine"].condition) == (0, "offline")


def test_when_hosts_got_their_rules_is_known_across_a_restart() -> None:
    """The journal has it in the facts; a host whose status is gone meanwhile is retracted."""
    before = Hosts()
    before.status("web-1", rules_version="old")
    before.status("web-1", rules_version="new")
    known = [fact for fact in before.take() if isinstance(fact, HostStatus)]
    facts = FleetFacts(FleetView(), name="fleet", known=known)
    facts.forget_unseen(before.now)
    (gone,) = facts.drain(10)
    assert isinstance(gone, Retraction)
    assert gone.key == "web-1"
    assert known[0].rules_since is not None


def test_the_registry_of_an_image() -> None:
    """By Docker's own rule."""
    assert registry_of("web") == registry_of("library/web:1") == "docker.io"
    assert registry_of("reg.example/web") == "reg.example"
    assert registry_of("localhost/web") == "localhost"
    assert registry_of("reg:5000/a/b@sha256:0") == "reg:5000"

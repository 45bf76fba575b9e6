"""The action that looks, the sweep, and the book of what they emitted."""

from connectors.mounts.inspect import InspectMounts, MountSweep
from connectors.mounts.leaks import LeakBook
from connectors.sources.periodic import Facts
from engine.facts import Retraction
from engine.facts.docker import MountLeak
from engine.facts.host import Source
from tests.clocks import FixedClock
from tests.unit.mounts.fakes import AT, MONITOR, OTHER, VICTIM, FakeDocker, FakeScanner, held

CLOCK = FixedClock.of(AT)


def inspect(scanner: FakeScanner, engine: FakeDocker, book: LeakBook) -> InspectMounts:
    """The action on a fixed clock."""
    names = {MONITOR: "cadvisor", VICTIM: "web"}
    return InspectMounts(scanner, book, status_of=engine.status_of, name_of=lambda id_: names.get(id_, ""), clock=CLOCK)


def sweep(scanner: FakeScanner, engine: FakeDocker, book: LeakBook) -> MountSweep:
    """The source on a fixed clock."""
    return MountSweep(scanner, book, status_of=engine.status_of, clock=CLOCK)


def emitted(facts: Facts | tuple[object, ...]) -> list[str]:
    """Leaks as +path, retractions as -key."""
    return [f"+{fact.path} {fact.owner_status}" if isinstance(fact, MountLeak) else f"-{fact.key}" for fact in facts
            if isinstance(fact, MountLeak | Retraction)]  # fmt: skip


async def test_inspection_names_holder_and_owner() -> None:
    """The fact says who holds what of whom, by id and name, and in which state the owner is."""
    outcome = await inspect(FakeScanner(held()), FakeDocker(), LeakBook()).run({"container": VICTIM})
    (fact,) = outcome.facts
    assert outcome.ok
    assert isinstance(fact, MountLeak)
    assert (fact.holder_id, fact.holder_name, fact.holder_pid) == (MONITOR, "cadvisor", 30)
    assert (fact.owner_id, fact.owner_name, fact.owner_status) == (VICTIM, "web", "dead")
    assert (fact.path, fact.fstype, fact.shared) == ("/d/shm", "tmpfs", False)


async def test_inspection_repeats_what_is_there_and_takes_back_what_is_gone() -> None:
    """A second look emits the leak again; when it is gone, that; and other containers' leaks are not touched."""
    scanner, engine, book = FakeScanner(held(), held("/d/other", owner=OTHER)), FakeDocker(), LeakBook()
    action = inspect(scanner, engine, book)
    await action.run({"container": OTHER})
    for _ in range(2):
        assert emitted((await action.run({"container": VICTIM})).facts) == ["+/d/shm dead"]
    scanner.there = []
    assert emitted((await action.run({"container": VICTIM})).facts) == [f"-{MONITOR}|/d/shm"]
    assert len(book) == 1


async def test_nothing_held_is_success() -> None:
    """Having looked and found nothing is an answer, and it says how far it looked."""
    outcome = await inspect(FakeScanner(), FakeDocker(), LeakBook()).run({"container": VICTIM})
    assert outcome.ok
    assert outcome.detail == "no mount held; 1 namespaces looked at"


async def test_blindness_is_no_success() -> None:
    """Without the right to look it says what is needed."""
    outcome = await inspect(FakeScanner(blind=5), FakeDocker(), LeakBook()).run({"container": VICTIM})
    assert (outcome.ok, outcome.error_kind) == (False, "denied")
    assert "SYS_PTRACE" in (outcome.error or "")


async def test_sweep_tells_only_what_nobody_needs() -> None:
    """Mounts of running containers, and of those that Docker does not report, are none of its business."""
    scanner = FakeScanner(held("/1"), held("/2", owner="r" * 64), held("/3", owner="s" * 64), held("/4", owner=OTHER))
    engine = FakeDocker(**{"r" * 64: "running", "s" * 64: "silent"})
    facts = await sweep(scanner, engine, LeakBook()).look()
    assert emitted(facts) == ["+/1 dead", "+/4 gone"]


async def test_sweep_tells_what_changed() -> None:
    """The same again is silence; another state of the owner is emitted; a leak that is gone is taken back."""
    scanner, engine = FakeScanner(held("/1"), held("/2", number=12)), FakeDocker()
    source = sweep(scanner, engine, LeakBook())
    assert emitted(await source.look()) == ["+/1 dead", "+/2 dead"]
    assert await source.look() == []
    engine.status[VICTIM] = "gone"
    assert emitted(await source.look()) == ["+/1 gone", "+/2 gone"]
    scanner.there = scanner.there[:1]
    assert emitted(await source.look()) == [f"-{MONITOR}|/2"]


async def test_sweep_asks_once_about_each_owner() -> None:
    """Five hundred mounts of two owners are two questions."""
    scanner = FakeScanner(*(held(f"/{n}", owner=(VICTIM, OTHER)[n % 2]) for n in range(500)))
    engine = FakeDocker()
    assert len(await sweep(scanner, engine, LeakBook()).look()) == 500
    assert sorted(engine.asked) == [VICTIM, OTHER]


async def test_a_blind_sweep_is_a_lost_source() -> None:
    """It says so instead of finding nothing for ever."""
    (fact,) = await sweep(FakeScanner(blind=5), FakeDocker(), LeakBook())._look_and_report()
    assert isinstance(fact, Source)
    assert (fact.status, fact.name) == ("lost", "mounts")


def test_the_book_is_bounded() -> None:
    """Of more leaks than the bound, and of paths too long to be taken back, only the number is kept."""
    book = LeakBook()
    leaks = [MountLeak(at=AT, holder_id=MONITOR, path=f"/{n}", owner_id=VICTIM, owner_status="dead") for n in range(10_005)]
    long = MountLeak(at=AT, holder_id=MONITOR, path="/" + "x" * 5000, owner_id=VICTIM, owner_status="dead")
    assert len(book.settle([long, *leaks], at=AT)) == 10_000
    assert book.left_out == 6
    assert book.retract((MONITOR, long.path), at=AT).key.startswith(MONITOR)

"""What a job remembers between attempts, and for how long it is wanted."""

from engine.pipeline.jobs import Job
from engine.rules.model import Rate, Retry
from tests.unit.pipeline.support import cid, decision, job


class TestNames:
    def test_the_same_decision_gives_the_same_job(self) -> None:
        """After a crash the same conclusion is not a second job."""
        assert job(1).id == job(1).id

    def test_another_activation_another_job(self) -> None:
        """A container that is dead a second time is a new reason."""
        assert job(1).id != job(1, activation="later").id

    def test_hostile_parameters_have_a_name_too(self) -> None:
        """A lone surrogate in a parameter is no error."""
        hostile = decision(1)
        hostile.params["container"] = "\ud800\x00"
        assert len(Job.of(hostile).id) == 20


class TestJournal:
    def test_it_comes_back_from_the_journal_as_it_was(self) -> None:
        """Everything a further attempt needs is in the text."""
        one = job(1, rate=Rate(5, 1_000_000), retry=Retry(first=1_000_000, attempts=3))
        one.attempts_made, one.waits = 2, 1
        one.join(job(1, activation="another"), {"another"})
        assert Job.from_json(one.to_json()) == one

    def test_a_path_that_is_no_utf_8_is_kept_too(self) -> None:
        """Whoever mounts something under a broken name must not be able to stop the loop when it is unmounted."""
        hostile = decision(1)
        hostile.params["container"] = "/mnt/\udcff\x00"
        assert Job.from_json(Job.of(hostile).to_json()).params == hostile.params

    def test_a_result_has_an_id_of_its_own_for_each_attempt(self) -> None:
        """So that the core takes each outcome for news."""
        one = job(1)
        ids = []
        for attempts, waits in ((1, 0), (1, 1), (2, 1)):
            one.attempts_made, one.waits = attempts, waits
            ids.append(one.result_fields()["fact_id"])
        assert len(set(ids)) == 3

    def test_a_storms_thousand_supporters_are_not_all_kept(self) -> None:
        """A job names a hundred facts at most."""
        many = decision(1)
        object.__setattr__(many, "facts", tuple(map(str, range(5000))))
        assert len(Job.of(many).facts) == 100


class TestReasons:
    def test_it_is_wanted_while_one_of_its_reasons_stands(self) -> None:
        """A second rule that asks for the same keeps the job when the first reason is over."""
        one = job(1, activation="first")
        one.join(job(1, activation="second"), {"first", "second"})
        assert one.wanted({"second"})
        assert not one.wanted({"third"})

    def test_the_same_reason_counts_once(self) -> None:
        """Neither the first reason nor a further one is kept twice."""
        one = job(1, activation="first")
        for activation in ("first", "second", "second"):
            one.join(job(1, activation=activation), {"first", "second"})
        assert one.other_activations == ["second"]

    def test_a_rule_that_fires_anew_pushes_no_standing_reason_out(self) -> None:
        """Each firing replaces the one before: what stands no longer makes room first."""
        one = job(1, activation="gone")
        one.join(job(1, activation="lasting"), {"gone", "lasting"})
        for number in range(100):
            one.join(job(1, activation=f"again-{number}"), {"lasting", f"again-{number - 1}"})
        assert one.wanted({"lasting"})
        assert len(one.other_activations) <= 8

    def test_the_reasons_of_a_job_that_joins_come_with_it(self) -> None:
        """Two jobs for one thing, found after a restart, become one with the reasons of both."""
        one, other = job(1, activation="a"), job(1, activation="b")
        other.join(job(1, activation="c"), {"b", "c"})
        one.join(other, {"c"})
        assert one.wanted({"c"})


def test_its_key_is_what_is_done_to_what() -> None:
    """One job for each action and target, whoever asks."""
    assert job(1).key == job(1, activation="x", rule="other").key == ("remove_container", cid(1))
    assert job(1).key != job(2).key

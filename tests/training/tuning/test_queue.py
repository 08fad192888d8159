"""Workers share the trials of a study: none is lost, and none is trained twice."""

import optuna
import pytest
from optuna.trial import TrialState

from ferlib.training.tuning.queue import TrialQueue, Worker, enqueue_once
from ferlib.training.tuning.storage import open_storage, quiet_optuna


@pytest.fixture
def join(tmp_path):
    """Return a function that makes a worker and its queue, as a process of its own would."""
    workers = []

    def join():
        backend = open_storage(None, tmp_path)
        with quiet_optuna():
            study = optuna.create_study(storage=backend, study_name="study", direction="maximize", load_if_exists=True)
        workers.append(Worker(tmp_path).__enter__())
        return TrialQueue(study, workers[-1], backend)

    yield join
    for worker in workers:
        worker.__exit__(None)


def kill(queue):
    """End a worker as SIGKILL does: its lock is free, and nothing else has happened."""
    queue.worker._file.close()


def states(queue):
    return [trial.state.name for trial in queue.study.get_trials()]


def test_workers_share_the_trials(join):
    first, second = join(), join()
    trials = [first.claim(3, may_create=True), second.claim(3, may_create=True), first.claim(3, may_create=True)]
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert second.claim(3, may_create=True) is None
    assert first.claim(9, may_create=False) is None


def test_the_trial_of_a_killed_worker_is_continued(join):
    first, second = join(), join()
    trial = first.claim(2, may_create=True)
    trial.set_user_attr("folder", "trial-0000")
    rate = trial.suggest_float("learning_rate", 0, 1)
    # Its worker lives.
    other = second.claim(2, may_create=True)
    assert other.number == 1
    kill(first)
    second.study.tell(other, 0.5)
    again = second.claim(2, may_create=True)
    assert (again.number, again.user_attrs["folder"]) == (0, "trial-0000")
    assert again.suggest_float("learning_rate", 0, 1) == rate
    second.study.tell(again, 0.6)
    assert states(second) == ["COMPLETE", "COMPLETE"]
    assert join().claim(2, may_create=True) is None


def test_the_trial_of_a_worker_that_failed_is_continued(join, tmp_path):
    first = join()
    with pytest.raises(KeyboardInterrupt), Worker(tmp_path) as worker:
        first.worker = worker
        assert first.claim(2, may_create=True).number == 0
        # Between the training and the record of its result, for example.
        raise KeyboardInterrupt
    assert join().claim(2, may_create=True).number == 0


def test_a_trial_taken_but_not_signed_is_continued(join):
    first = join()
    with quiet_optuna():
        first.study.ask()
    assert first.claim(5, may_create=True).number == 0


def test_a_released_trial_comes_first(join):
    first, second = join(), join()
    trial = first.claim(5, may_create=True)
    depth = trial.suggest_int("depth", 1, 9)
    first.release(trial)
    again = second.claim(5, may_create=True)
    assert (again.number, again.suggest_int("depth", 1, 9)) == (trial.number, depth)
    assert second.claim(5, may_create=True).number == 1


def test_a_trial_that_ends_its_process_is_given_up(join):
    numbers = []
    for _ in range(5):
        queue = join()
        numbers.append(queue.claim(5, may_create=True).number)
        kill(queue)
    # Three times more after the first.
    assert numbers == [0, 0, 0, 0, 1]
    trial = queue.study.get_trials()[0]
    assert (trial.state, trial.user_attrs["note"]) == (TrialState.PRUNED, "ended its process")


def test_keys_are_enqueued_and_trained_once(join):
    first, second = join(), join()
    for queue in (first, second):
        enqueue_once(queue, {"7/0": {"seed": 0}, "7/1": {"seed": 1}})
    # Another machine may have enqueued the same at the same moment.
    second.study.enqueue_trial({}, user_attrs={"key": "7/1", "seed": 1})
    taken = [queue.claim(99, may_create=False).user_attrs["key"] for queue in (first, second)]
    assert sorted(taken) == ["7/0", "7/1"]
    assert second.claim(99, may_create=False) is None
    assert states(first) == ["RUNNING", "RUNNING", "FAIL"]
    assert len(first.trials()) == 2

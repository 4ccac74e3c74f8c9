from flowcost.agent.bounded import forget_oldest


def test_the_oldest_eighth_goes_at_least_one():
    memory = dict.fromkeys(range(80))
    assert forget_oldest(memory) == 10
    assert min(memory) == 10
    assert forget_oldest(few := {1: None, 2: None}) == 1
    assert list(few) == [2]

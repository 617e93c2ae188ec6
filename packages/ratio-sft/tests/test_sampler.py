from hypothesis import given
from hypothesis import strategies as st

from ratio_sft.training.sampler import LengthGroupedSampler

LENGTHS = st.lists(st.integers(1, 500), min_size=1, max_size=300)


@given(LENGTHS, st.integers(1, 16), st.integers(0, 5), st.integers(0, 3))
def test_an_epoch_is_every_row_once_in_a_fixed_order(lengths, group, seed, epoch):
    sampler = LengthGroupedSampler(lengths, group=group, seed=seed)
    sampler.set_epoch(epoch)
    order = list(sampler)
    assert sorted(order) == list(range(len(lengths)))
    assert order == list(sampler)


@given(LENGTHS, st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_blank_rows_fill_the_last_round_and_change_no_other(lengths, batch, processes, accumulation):
    group = batch * processes * accumulation
    order = list(LengthGroupedSampler(lengths, group=group, seed=0))
    filled = LengthGroupedSampler(lengths, group=group, seed=0, round_of=batch * processes)
    assert len(filled) == len(list(filled))
    assert len(filled) % (batch * processes) == 0
    assert len(filled) - len(order) < batch * processes
    assert list(filled) == order + [len(lengths)] * (len(filled) - len(order))


def test_epochs_and_seeds_differ():
    sampler = LengthGroupedSampler(list(range(64)), group=4, seed=0)
    first = list(sampler)
    sampler.set_epoch(1)
    assert first != list(sampler)
    assert first != list(LengthGroupedSampler(list(range(64)), group=4, seed=1))


def test_padding_is_a_tenth_of_that_of_a_random_order():
    lengths = [20 + (37 * index) % 200 for index in range(512)]

    def padding(order):
        groups = [[lengths[row] for row in order[start : start + 8]] for start in range(0, len(order), 8)]
        return sum(max(group) * len(group) - sum(group) for group in groups)

    assert padding(list(LengthGroupedSampler(lengths, group=8, seed=0))) * 10 < padding(list(range(512)))

from proxy.telemetry.series import MAX_SERIES, Histogram, Series


def test_a_key_that_is_given_at_the_start_exists_at_0() -> None:
    series = Series("a", "counter", "A.", ("x",), [("one",), ("two",)])

    assert series.values == {("one",): 0, ("two",): 0}


def test_a_new_key_begins_with_its_first_amount() -> None:
    series = Series("a", "counter", "A.", ("x",))
    series.add(("one",))
    series.add(("one",), 2)
    series.put(("two",), 7)
    series.put(("two",), 8)

    assert series.values == {("one",): 3, ("two",): 8}


def test_a_label_that_somebody_chooses_freely_does_not_eat_the_memory() -> None:
    series = Series("a", "counter", "A.", ("x",))
    for number in range(MAX_SERIES + 5):
        series.add((str(number),))
    series.add(("0",))

    assert len(series.values) == MAX_SERIES
    assert series.values["0",] == 2
    assert series.dropped == 5


def test_a_value_counts_in_the_first_bucket_that_holds_it() -> None:
    histogram = Histogram("a", "A.", (0.1, 1.0), keys=[()])
    for value in (0.05, 0.1, 0.5, 1.0, 3.0):
        histogram.observe((), value)

    assert histogram.counts[()] == [2, 2, 1]
    assert list(histogram.cumulative(histogram.counts[()])) == [("0.1", 2), ("1.0", 4), ("+Inf", 5)]
    assert histogram.sums[()] == 0.05 + 0.1 + 0.5 + 1.0 + 3.0


def test_a_histogram_learns_new_labels() -> None:
    histogram = Histogram("a", "A.", (1.0,), ("x",))
    histogram.observe(("one",), 0.5)

    assert histogram.counts == {("one",): [1, 0]}

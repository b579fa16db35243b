"""Functions mapped over samples chunk by chunk: which draws they give, how much memory
they take, and what is left when they are interrupted."""

import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec, SingleDeviceSharding
from jax.tree_util import Partial
from support import assert_same

from jaxlink.call import memory
from jaxlink.call.memory import bytes_per_sample, format_bytes
from jaxlink.pymc.batched.chunks import Chunks, _mapped, delay_interrupts, evaluate
from jaxlink.pymc.batched.samples import Samples, fold_in_data
from jaxlink.pymc.shared.arguments import device_mesh

KEY = jax.random.key(7)
RNG = np.random.default_rng(3)
SCALE = RNG.normal(size=(3, 5))
SHIFT = RNG.normal(size=(3, 5, 4))


def noisy(key, draw):
    """A normal vector, and a count that takes another number of rounds each time."""
    normal = draw["scale"] * jax.random.normal(key, (4,)) + draw["shift"]

    def is_heads(count):
        return jax.random.uniform(jax.random.fold_in(key, count)) < 0.5

    count = jax.lax.while_loop(is_heads, lambda count: count + 1, np.int64(0))
    return {"normal": normal, "count": count}


def grid(**changes):
    coords = {"chain": np.arange(3), "draw": np.arange(5)}
    values = {"scale": SCALE, "shift": SHIFT}
    return Samples(**{"coords": coords, "values": values, **changes})


def chunked(samples, fn=noisy, key=KEY, **options):
    return Chunks(
        Partial(fn), lambda fn, key, draw: fn(key, draw), samples, key=key, **options
    )


def results(chunks, width=1000, advance=lambda count: None):
    """All blocks, and the number of finished columns."""
    blocks = []

    def finished(first, last, arrays):
        blocks.append((first, last, {name: x.copy() for name, x in arrays.items()}))

    return blocks, evaluate(chunks, width, finished, advance)


def whole(samples, **options):
    [(_, _, arrays)], columns = results(chunked(samples, **options))
    assert columns == samples.shape[-1]
    return arrays


@pytest.fixture(scope="module")
def reference():
    return whole(grid())


def test_results_are_those_of_one_call_a_sample(reference):
    fn = jax.jit(noisy)
    for c, d in np.ndindex(3, 5):
        key = jax.random.fold_in(jax.random.fold_in(KEY, c), d)
        one = fn(key, {"scale": SCALE[c, d], "shift": SHIFT[c, d]})
        np.testing.assert_array_equal(reference["count"][c, d], one["count"])
        np.testing.assert_allclose(reference["normal"][c, d], one["normal"], 1e-15)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 15, np.int32(40)])
def test_chunks_of_any_size_give_the_same_bits(batch_size, reference):
    assert_same(whole(grid(), batch_size=batch_size), reference)


def sharding(devices):
    return NamedSharding(Mesh(np.array(devices), ("d",)), PartitionSpec("d"))


def test_any_number_of_devices_gives_the_same_bits(reference):
    assert len(jax.devices()) == 2
    two = sharding(jax.devices())
    chunks = chunked(grid(), batch_size=3, sharding=two)
    assert chunks.batch_size == 4  # a multiple of the devices
    chunks.compile()
    # Both devices work, on samples of their own.
    ids, _ = chunks._place_inputs(0, 4)
    assert [s.data.tolist() for s in ids[0].addressable_shards] == [[0, 1], [2, 0]]
    [(_, _, arrays)], _ = results(chunks)
    assert_same(arrays, reference)
    assert_same(whole(grid(), sharding=sharding(jax.devices()[::-1])), reference)
    alone = SingleDeviceSharding(jax.devices()[1])
    assert_same(whole(grid(), sharding=alone), reference)


def test_draws_stay_with_their_labels(reference):
    chains, draws = np.array([2, 0]), np.array([4, 1, 3])
    part = grid(
        coords={"chain": chains, "draw": draws},
        values={
            "scale": SCALE[chains][:, draws],
            "shift": SHIFT[chains][:, draws],
        },
    )
    expected = {n: x[chains][:, draws] for n, x in reference.items()}
    assert_same(whole(part), expected)


def test_one_dimension_and_three(reference):
    flat = Samples(
        {"sample": np.arange(4)}, {"scale": SCALE[0, :4], "shift": SHIFT[0, :4]}
    )
    arrays = whole(flat, batch_size=3)
    assert arrays["normal"].shape == (4, 4)
    fold = jax.random.fold_in
    expected = noisy(fold(KEY, 2), {"scale": SCALE[0, 2], "shift": SHIFT[0, 2]})
    np.testing.assert_allclose(arrays["normal"][2], expected["normal"], rtol=1e-15)
    deep = Samples(
        {"chain": np.arange(3), "draw": np.arange(5), "again": np.arange(2)},
        {"scale": np.stack([SCALE] * 2, -1), "shift": np.stack([SHIFT] * 2, 2)},
    )
    arrays = whole(deep, batch_size=7)
    assert arrays["normal"].shape == (3, 5, 2, 4)
    key = fold(fold(fold(KEY, 2), 1), 1)
    expected = noisy(key, {"scale": SCALE[2, 1], "shift": SHIFT[2, 1]})
    np.testing.assert_allclose(arrays["normal"][2, 1, 1], expected["normal"], 1e-15)
    assert np.all(arrays["normal"][..., 0, :] != arrays["normal"][..., 1, :])


def test_products_round_alike_for_any_batch_size():
    matrix = RNG.normal(size=(20, 30))

    def product(key, draw):
        del key
        return {"product": jnp.asarray(matrix) @ draw["b"]}

    samples = Samples({"draw": np.arange(5)}, {"b": RNG.normal(size=(5, 30))})
    expected = whole(samples, fn=product)
    both = sharding(jax.devices())
    assert_same(whole(samples, fn=product, batch_size=1), expected)
    assert_same(whole(samples, fn=product, batch_size=2, sharding=both), expected)


@pytest.mark.parametrize(
    ("labels", "ids"),
    [
        (np.array([7, 3, 2**32 - 1]), [7, 3, 2**32 - 1]),
        (np.array([7, 3], np.int8), [7, 3]),
        (np.array([7, 3, 7]), [0, 1, 2]),
        (np.array([-1, 0]), [0, 1]),
        (np.array([0, 2**32]), [0, 1]),
        (np.array([0.0, 5.0]), [0, 1]),
        (np.array([True, False]), [0, 1]),
        (["x", "y"], [0, 1]),
        (np.array([], int), []),
    ],
)
def test_ids_are_labels_or_positions(labels, ids):
    assert fold_in_data(labels).dtype == np.uint32
    assert fold_in_data(labels).tolist() == ids


def test_one_program_serves_all_chunks():
    traces = []

    def counted(key, draw):
        traces.append(draw["scale"].shape)
        return noisy(key, draw)

    results(chunked(grid(), counted, batch_size=15))
    once = len(traces)
    results(chunked(grid(), counted, batch_size=4))
    assert len(traces) == 2 * once  # as often for four chunks as for one


def test_the_last_chunk_is_filled_with_samples():
    """At values that are none, such as zeros, a sampler might never end."""
    chunks = chunked(grid(), batch_size=4)
    (chains, draws), values = chunks._inputs(12, 15, 4)
    assert (chains.tolist(), draws.tolist()) == ([0, 1, 2, 2], [4, 4, 4, 4])
    np.testing.assert_array_equal(values["scale"], SCALE[[0, 1, 2, 2], 4])
    np.testing.assert_array_equal(values["shift"], SHIFT[[0, 1, 2, 2], 4])


@pytest.mark.parametrize(("width", "batch_size"), [(1, 4), (2, 15), (2, 1), (5, 4)])
def test_blocks(width, batch_size, reference):
    done = []
    blocks, columns = results(
        chunked(grid(), batch_size=batch_size), width, done.append
    )
    assert columns == 5
    assert sum(done) == 15
    assert [first for first, _, _ in blocks] == list(range(0, 5, width))
    joined = {
        name: np.concatenate([arrays[name] for _, _, arrays in blocks], axis=1)
        for name in reference
    }
    assert_same(joined, reference)


def test_without_key_or_results_or_values():
    def twice(_, draw):
        return {"twice": 2.0 * draw["scale"], "empty": jnp.zeros((0, 2))}

    [(_, _, arrays)], _ = results(chunked(grid(), twice, key=None))
    np.testing.assert_array_equal(arrays["twice"], 2 * SCALE)
    assert arrays["empty"].shape == (3, 5, 0, 2)
    blocks, columns = results(chunked(grid(), lambda key, draw: {}))
    assert (columns, blocks[0][2]) == (5, {})
    bare = Samples({"draw": np.arange(4)})
    chunks = chunked(bare, lambda key, _: {"x": jax.random.uniform(key)}, batch_size=3)
    [(_, _, arrays)], _ = results(chunks)
    expected = [float(jax.random.uniform(jax.random.fold_in(KEY, i))) for i in range(4)]
    assert arrays["x"].tolist() == expected


def test_values_take_the_model_dtype():
    def seen(_, draw):
        assert draw["scale"].dtype == jnp.float32
        return {"n": draw["n"]}

    values = {"scale": SCALE, "n": np.arange(15.0).reshape(3, 5)}
    dtypes = {"scale": np.dtype("float32"), "n": np.dtype("int8")}
    arrays = whole(grid(values=values, dtypes=dtypes), fn=seen)
    assert arrays["n"].dtype == np.int8
    assert arrays["n"].tolist() == values["n"].tolist()
    values["n"][2, 4] = 0.5
    with pytest.raises(ValueError, match="`n` has dtype int8 in the model"):
        results(chunked(grid(values=values, dtypes=dtypes), seen))


class Lazy:
    """An array of which only slices can be had, and no large ones."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, index):
        part = self.array[index]
        assert part.size < self.array.size
        return part


def test_values_are_loaded_as_they_are_needed(reference):
    lazy = grid(values={"scale": Lazy(SCALE), "shift": Lazy(SHIFT)})
    assert_same(whole(lazy, batch_size=6), reference)


# How much memory


def test_memory_estimate_counts_the_largest_operation():
    data = np.ones((1000, 50))  # captured: the same for all samples

    def one(key, draw):
        wide = jnp.sort(jax.random.normal(key, (1000,)))
        return {"y": wide.sum() + (jnp.asarray(data) @ draw["b"]).max()}

    samples = Samples({"draw": np.arange(100)}, {"b": np.ones((100, 50))})
    chunks = chunked(samples, one)
    traced, _, varies = chunks._trace()
    each = bytes_per_sample(traced.jaxpr, varies)
    program = jax.jit(_mapped(chunks._call)).lower(
        chunks._fn, KEY, *chunks._inputs(0, 64, 64)
    )
    analysis = program.compile().memory_analysis()
    per_sample = (analysis.temp_size_in_bytes + analysis.output_size_in_bytes) / 64
    assert per_sample / 4 < each < per_sample * 4
    assert each > 2 * 8 * 1000


def test_memory_estimate_enters_loops():
    def loop(key, _):
        def body(i, x):
            return x + (jnp.ones((500, 20)) * x[0]).sum(axis=1)

        return {"x": jax.lax.fori_loop(0, 3, body, jax.random.normal(key, (500,)))[0]}

    chunks = chunked(Samples({"draw": np.arange(100)}), loop)
    traced, _, varies = chunks._trace()
    assert bytes_per_sample(traced.jaxpr, varies) > 8 * 500 * 20


def test_default_batch_size_fits_the_budget(monkeypatch):
    samples = Samples({"draw": np.arange(10_000)})
    draws = lambda key, _: {"x": jax.random.normal(key, (100,))}  # noqa: E731
    batch = chunked(samples, draws).batch_size
    assert 1 < batch < 10_000
    assert chunked(samples, draws, sharding=sharding(jax.devices())).batch_size == (
        2 * batch
    )
    monkeypatch.setattr(memory, "CPU_BYTES", memory.CPU_BYTES // 4)
    assert chunked(samples, draws).batch_size == pytest.approx(batch / 4, abs=1)
    monkeypatch.setattr(memory, "CPU_BYTES", 1)
    assert chunked(samples, draws).batch_size == 1
    monkeypatch.setattr(memory, "CPU_BYTES", 2**60)
    assert chunked(samples, draws).batch_size == 10_000
    assert memory.budget("gpu") == memory.ACCELERATOR_BYTES


def test_size_of_the_result():
    assert chunked(grid()).nbytes == 15 * (4 * 8 + 8)
    assert format_bytes(512) == "512 bytes"
    assert format_bytes(3 * 2**30) == "3 GiB"


def test_device_holds_two_chunks_at_most():
    """However many draws there are."""
    samples = Samples({"draw": np.arange(2000)})
    draws = lambda key, _: {"x": jax.random.normal(key, (100,))}  # noqa: E731
    chunks = chunked(samples, draws, batch_size=50)
    chunks.compile()
    jax.block_until_ready(jax.live_arrays())

    def nbytes():  # two arrays may share a buffer
        buffers = {x.unsafe_buffer_pointer(): x.nbytes for x in jax.live_arrays()}
        return sum(buffers.values())

    before, held = nbytes(), []

    def advance(count):
        held.append(nbytes() - before)
        assert count == 50

    results(chunks, 2000, advance)
    assert len(held) == 40
    of_chunk = 50 * 100 * 8
    assert of_chunk <= max(held) <= 2.1 * of_chunk


@pytest.fixture
def many_chunks(monkeypatch):
    """Three cores, and chunks of two samples."""
    monkeypatch.setattr(memory, "CPU_BYTES", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 3)


@pytest.mark.usefixtures("many_chunks")
def test_cores_compute_chunks_at_the_same_time(reference):
    """In order, with the same bits, and only a few at a time."""
    meet, started = threading.Barrier(3, timeout=60), []

    def wait(x):
        started.append(threading.get_ident())
        if len(started) <= 3:
            meet.wait()
        return np.asarray(x)

    def waiting(key, draw):
        out = noisy(key, draw)
        same = jax.ShapeDtypeStruct((), out["count"].dtype)
        together = jax.pure_callback(
            wait, same, out["count"], vmap_method="broadcast_all"
        )
        return out | {"count": together}

    ahead = []
    chunks = chunked(grid(), waiting)
    assert chunks.batch_size == 1
    [(_, _, arrays)], _ = results(chunks, advance=lambda _: ahead.append(len(started)))
    assert_same(arrays, reference)
    assert len(set(started)) >= 3
    # Three chunks run while one is handed over, and one waits.
    assert all(now - done <= 5 for done, now in enumerate(ahead))


def test_large_chunks_are_computed_one_by_one(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert memory.cores_for(memory.CPU_BYTES) == 64
    assert memory.cores_for(memory.ALL_CORES_BYTES // 3) == 3
    assert memory.cores_for(2 * memory.ALL_CORES_BYTES) == 1


@pytest.mark.usefixtures("many_chunks")
def test_errors_on_other_cores_end_the_run():
    def fail(x):
        raise ValueError(f"no number {x}")

    def failing(key, draw):
        same = jax.ShapeDtypeStruct((), np.float64)
        return {
            "x": jax.pure_callback(
                fail, same, draw["scale"], vmap_method="broadcast_all"
            )
        }

    with pytest.raises(jax.errors.JaxRuntimeError, match="no number"):
        results(chunked(grid(), failing))
    assert threading.active_count() < 20


# Interrupts


@pytest.mark.usefixtures("many_chunks")
def test_interrupts_while_other_cores_compute(reference):
    blocks, columns = results(chunked(grid()), 1, interrupt_after(7))
    assert columns == 2
    [first, second] = [arrays for _, _, arrays in blocks]
    joined = {name: np.concatenate([first[name], second[name]], 1) for name in first}
    assert_same(joined, {name: x[:, :2] for name, x in reference.items()})


def interrupt_after(chunks):
    """Ctrl-C when this many chunks are done."""
    left = [chunks]

    def advance(_):
        left[0] -= 1
        if not left[0]:
            signal.raise_signal(signal.SIGINT)

    return advance


@pytest.mark.parametrize("width", [2, 5])
def test_interrupted_runs_hand_over_whole_columns(width, reference):
    chunks = chunked(grid(), batch_size=4)
    blocks, columns = results(chunks, width, interrupt_after(3))
    assert columns == 4  # three chunks are 12 samples
    assert blocks[-1][1] == 4
    joined = {
        name: np.concatenate([arrays[name] for _, _, arrays in blocks], axis=1)
        for name in reference
    }
    assert_same(joined, {name: x[:, :4] for name, x in reference.items()})


def test_interrupted_before_a_column_is_done():
    blocks, columns = results(chunked(grid(), batch_size=2), 5, interrupt_after(1))
    assert (blocks, columns) == ([], 0)


def test_a_block_that_is_handed_over_is_not_interrupted():
    handed = []

    def finished(first, last, arrays):
        del arrays
        signal.raise_signal(signal.SIGINT)
        handed.append((first, last))

    chunks = chunked(grid(), batch_size=3)
    assert evaluate(chunks, 2, finished, lambda count: None) == 2
    assert handed == [(0, 2)]


def test_delay_interrupts():
    before = signal.getsignal(signal.SIGINT)
    done = False

    def inside():
        nonlocal done
        with delay_interrupts():
            signal.raise_signal(signal.SIGINT)
            done = True

    with pytest.raises(KeyboardInterrupt):
        inside()
    assert done
    assert signal.getsignal(signal.SIGINT) is before


# What is wrong


@pytest.mark.parametrize("batch_size", [0, -3])
def test_batch_size_must_be_positive(batch_size):
    with pytest.raises(ValueError, match=f"at least 1, but is {batch_size}"):
        chunked(grid(), batch_size=batch_size)


@pytest.mark.parametrize("batch_size", [2.0, True, "3"])
def test_batch_size_must_be_an_integer(batch_size):
    with pytest.raises(TypeError, match="batch_size must be an int"):
        chunked(grid(), batch_size=batch_size)


def test_sharding_must_be_one():
    with pytest.raises(TypeError, match=r"NamedSharding.*not list"):
        chunked(grid(), sharding=jax.devices())
    assert device_mesh(None) is None


def test_shapes_that_do_not_go_together():
    wrong = lambda key, draw: {"x": draw["shift"] + jnp.ones(3)}  # noqa: E731
    with pytest.raises(ValueError, match=r"`beta` is long\. The error was: add got"):
        chunked(grid(), wrong, hint=lambda: "`beta` is long")

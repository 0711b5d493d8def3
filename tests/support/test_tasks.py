"""Which task of asyncio runs this."""

import asyncio
import threading

from neuronpath_core.support.tasks import current_task


def test_without_a_loop_there_is_no_task():
    assert current_task() is None


def test_each_task_finds_itself():
    async def found():
        await asyncio.sleep(0)  # the others run in between
        return current_task(), asyncio.current_task()

    async def several():
        return await asyncio.gather(*(found() for _ in range(3)))

    pairs = asyncio.run(several())
    assert all(one is other for one, other in pairs)
    assert len({id(one) for one, _ in pairs}) == 3


def test_what_a_loop_calls_outside_of_tasks_is_of_none():
    async def called():
        seen = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lambda: seen.set_result(current_task()))
        return await seen

    assert asyncio.run(called()) is None


def test_a_thread_beside_a_task_runs_none():
    async def beside():
        seen = []
        thread = threading.Thread(target=lambda: seen.append(current_task()))
        thread.start()
        thread.join()
        return seen

    assert asyncio.run(beside()) == [None]

# ruff: noqa: D103 - the name of a case is its sentence
"""Cases for `Memos`: the little that a process leaves for the one that does its work next."""

from ._kit import Capability, Subject, cases_of

case = cases_of("records")


@case("contract: memos")
async def a_memo_is_the_text_that_was_kept_last(subject: Subject) -> None:
    store = subject.records
    assert await store.memo("orders é", "key é") == "", "there is none yet"
    for text in ("2026-01-01T00:00:00+00:00", "é" * 1000, "earlier"):
        await store.keep_memo("orders é", "key é", text)
        assert await store.memo("orders é", "key é") == text


@case("contract: memos")
async def memos_of_other_workflows_and_keys_are_their_own(subject: Subject) -> None:
    store = subject.records
    for workflow_name, key in (("a", "b"), ("a", "B"), ("A", "b"), ("a b", ""), ("a", " b")):
        await store.keep_memo(workflow_name, key, f"of {workflow_name!r} {key!r}")
    await store.keep_memo("a", "b", "changed")
    assert await store.memo("a", "b") == "changed"
    for workflow_name, key in (("a", "B"), ("A", "b"), ("a b", ""), ("a", " b")):
        assert await store.memo(workflow_name, key) == f"of {workflow_name!r} {key!r}"


@case("contract: memos")
async def an_empty_text_removes_a_memo_and_may_be_kept_again(subject: Subject) -> None:
    store = subject.records
    await store.keep_memo("orders", "key", "text")
    for _ in range(2):
        await store.keep_memo("orders", "key", "")
        assert await store.memo("orders", "key") == ""
    await store.keep_memo("orders", "key", "again")
    assert await store.memo("orders", "key") == "again"


@case("contract: memos", needs=[Capability.SECOND_INSTANCE])
async def another_process_reads_what_one_has_kept(subject: Subject) -> None:
    other = (await subject.another()).record_store
    await subject.records.keep_memo("orders", "key", "ours")
    assert await other.memo("orders", "key") == "ours"
    await other.keep_memo("orders", "key", "theirs")
    assert await subject.records.memo("orders", "key") == "theirs"


@case("contract: memos", needs=[Capability.REOPENING])
async def memos_are_there_after_reopening(subject: Subject) -> None:
    await subject.records.keep_memo("orders", "key", "text")
    await subject.reopen()
    assert await subject.records.memo("orders", "key") == "text"

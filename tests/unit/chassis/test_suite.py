"""Which suite a process is of."""

from pydantic import SecretStr

from services.chassis.suite import suite_id

KEY = "0f" * 32


def test_processes_with_the_same_key_are_of_one_suite() -> None:
    assert suite_id(SecretStr(KEY)) == suite_id(SecretStr(KEY.upper()))


def test_another_key_is_another_suites() -> None:
    assert suite_id(SecretStr(KEY)) != suite_id(SecretStr("00" * 32))

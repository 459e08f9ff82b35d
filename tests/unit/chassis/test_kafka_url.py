import pytest

from services.chassis.errors import InvalidArgument
from services.chassis.eventbus.kafka_url import parsed

PASSWORD = str(hash("p"))


def test_a_url_names_brokers_and_how_to_speak_with_them() -> None:
    cluster = parsed(
        "kafka://a:9092,[::1]:9093?tls=on&sasl=scram-sha-512", username="u", password=PASSWORD
    )

    assert cluster.servers == ("a:9092", "[::1]:9093")
    assert (cluster.protocol, cluster.sasl) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (cluster.username, cluster.password) == ("u", PASSWORD)
    assert cluster.is_idempotent


def test_what_the_url_says_of_the_user_goes_before_the_rest() -> None:
    cluster = parsed("kafka://us%40er:pa%2Fss@a:9092?sasl=plain", username="u", password=PASSWORD)

    assert (cluster.username, cluster.password) == ("us@er", "pa/ss")


def test_a_password_is_not_shown() -> None:
    assert "hunter2" not in repr(parsed("kafka://u:hunter2@a:9092?sasl=plain"))


@pytest.mark.parametrize(
    "url",
    [
        "kafka://",
        "kafka://u:hunter2@a b:9092",
        "kafka://u:hunter2@a:9092/topic",
        "kafka://u:hunter2@a:9092?sasl=gssapi",
        "kafka://u:hunter2@a:9092?tls=maybe",
        "kafka://u:hunter2@a:9092?acks=0",
        "kafka://u:hunter2@a:9092?partitions=0",
        "kafka://u:hunter2@a:9092?partitions=x",
        "kafka://u:hunter2@[a:9092",
        "kafka://u:hunter2@a:9092?tls",
        "kafka://a:9092?sasl=plain",
    ],
)
def test_what_is_no_url_of_a_kafka_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parsed(url)

    assert caught.value.reason == "EVENT_BUS_UNSUPPORTED"
    assert "hunter2" not in str(caught.value)

import pytest
from pydantic import ValidationError

from services.chassis.errors import InvalidArgument
from services.chassis.objectstore.open import object_store
from services.chassis.settings import AwsSettings, SharedSettings

KEY = "00" * 32


@pytest.mark.parametrize(
    "url", ["file:///var/values", "s3://bucket", "s3://my.bucket-1/some/prefix"]
)
def test_a_folder_or_a_bucket_can_be_chosen(url: str) -> None:
    assert SharedSettings(page_token_key=KEY, object_store=url).object_store == url


@pytest.mark.parametrize("url", ["", "file:", "file://relative", "s3://", "s3://B", "https://x/y"])
def test_what_names_no_object_store_is_refused(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SharedSettings(page_token_key=KEY, object_store=url)

    assert caught.value.errors()[0]["loc"] == ("object_store",)


def test_large_values_may_be_forgotten_only_together_with_the_log() -> None:
    settings = SharedSettings(page_token_key=KEY, object_store="memory:")
    with pytest.raises(ValidationError) as caught:
        SharedSettings(
            page_token_key=KEY, object_store="memory:", event_store="sqlite:///somewhere"
        )

    assert settings.object_store == "memory:"
    assert caught.value.errors()[0]["loc"] == ("object_store",)


def test_keys_come_from_the_usual_variables_and_are_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    settings = SharedSettings(page_token_key=KEY)

    assert settings.aws.secret_access_key is not None
    assert settings.aws.secret_access_key.get_secret_value() == "hidden"
    assert settings.aws.endpoint == "http://127.0.0.1:1"
    assert settings.aws.chosen_region == "eu-central-1"
    assert "hidden" not in repr(settings)


async def test_an_object_store_of_no_known_kind_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        async with object_store("ftp://x", AwsSettings()):
            pass

    assert caught.value.reason == "OBJECT_STORE_UNSUPPORTED"

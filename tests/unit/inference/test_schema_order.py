"""Properties are produced in the order of `required`, then by name."""

from services.inference.domain.request import JSON
from services.inference.domain.schema_order import in_order


def names(schema: JSON) -> list[str]:
    assert isinstance(schema, dict)
    return list(schema["properties"])


def test_required_properties_come_first_in_their_order_then_the_others_by_name() -> None:
    schema: dict[str, JSON] = {
        "properties": {"d": {}, "a": {}, "c": {}, "b": {}},
        "required": ["c", "b"],
    }

    assert names(in_order(schema)) == ["c", "b", "a", "d"]


def test_order_reaches_every_place_where_a_schema_can_stand() -> None:
    inner: dict[str, JSON] = {"properties": {"a": {}, "b": {}}, "required": ["b", "a"]}

    ordered = in_order(
        {
            "anyOf": [inner],
            "items": inner,
            "$defs": {"x": inner},
            "properties": {"p": inner},
            "additionalProperties": inner,
            "not": inner,
        }
    )

    places = (
        ordered["anyOf"][0],
        ordered["items"],
        ordered["$defs"]["x"],
        ordered["properties"]["p"],
        ordered["additionalProperties"],
        ordered["not"],
    )
    assert all(names(place) == ["b", "a"] for place in places)


def test_a_property_named_like_a_keyword_is_a_property() -> None:
    schema: dict[str, JSON] = {
        "properties": {"required": {"type": "string"}, "properties": {"type": "string"}},
        "required": ["required", "properties"],
    }

    assert names(in_order(schema)) == ["required", "properties"]


def test_data_inside_a_schema_stays_as_it_is() -> None:
    value: dict[str, JSON] = {"properties": {"b": 1, "a": 2}, "required": ["a"]}

    ordered = in_order({"const": value, "enum": [value], "default": value})

    assert ordered == {"const": value, "enum": [value], "default": value}
    assert names(ordered["const"]) == ["b", "a"]


def test_booleans_as_schemas_are_kept() -> None:
    assert in_order({"additionalProperties": False, "items": True}) == {
        "additionalProperties": False,
        "items": True,
    }

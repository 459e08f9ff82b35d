"""Methods out of descriptors, sound and unsound ones."""

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from services.chassis.errors import InvalidArgument
from services.tool_registry.adapters.grpc.methods import (
    MAX_BYTES,
    Method,
    found,
    needed,
    parsed,
    serialized,
)
from services.tool_registry.adapters.grpc.pruning import pruned
from tests.servers.grpc_service import SERVICE, compiled

METHOD = f"{SERVICE}/GetPlace"
FIELD = "tool.grpc.descriptor_set"


def method_of(raw: bytes, method: str = METHOD) -> Method:
    """What registering does with a set."""
    files = parsed(raw, field=FIELD)
    return found(needed(files, method.partition("/")[0], field=FIELD), method, field=FIELD)


def refused(raw: bytes, method: str = METHOD) -> InvalidArgument:
    """Why a set is refused."""
    with pytest.raises(InvalidArgument) as caught:
        method_of(raw, method)
    return caught.value


def file(name: str, *imports: str, **more: object) -> FileDescriptorProto:
    """An empty file."""
    return FileDescriptorProto(name=name, dependency=imports, syntax="proto3", **more)


def with_service(*files: FileDescriptorProto, imports: str) -> bytes:
    """A set in which a file with a service imports one of the files."""
    top = file("top.proto", imports, package="a")
    top.service.add(name="S")
    return FileDescriptorSet(file=[top, *files]).SerializeToString()


def test_a_method_is_found_with_its_messages() -> None:
    method = method_of(compiled())

    assert method.path == f"/{METHOD}"
    assert method.request.full_name == "places.v1.GetPlaceRequest"
    assert method.response.full_name == "places.v1.Place"


def test_what_is_kept_is_enough_and_has_no_comments() -> None:
    files = needed(parsed(compiled(), field=FIELD), SERVICE, field=FIELD)
    kept = serialized(files)

    assert method_of(kept).response.full_name == "places.v1.Place"
    assert len(kept) < len(compiled())
    assert serialized(FileDescriptorSet.FromString(kept).file) == kept


def test_files_that_the_method_does_not_need_are_not_kept() -> None:
    files = FileDescriptorSet.FromString(compiled())
    files.file.append(file("other.proto", "missing.proto"))
    order = needed(parsed(files.SerializeToString(), field=FIELD), SERVICE, field=FIELD)

    assert "other.proto" not in [each.name for each in order]


def test_files_of_google_protobuf_need_not_be_there() -> None:
    own = FileDescriptorSet.FromString(compiled()).file[-1]

    assert method_of(FileDescriptorSet(file=[own]).SerializeToString())


def test_files_of_google_protobuf_are_the_librarys() -> None:
    files = FileDescriptorSet.FromString(compiled())
    for each in files.file:
        if each.name == "google/protobuf/timestamp.proto":
            del each.message_type[0].field[:]
    method = method_of(files.SerializeToString(), f"{SERVICE}/Echo")

    at = method.request.fields_by_name["at"].message_type
    assert [field.name for field in at.fields] == ["seconds", "nanos"]


def test_an_unknown_method_is_told_which_there_are() -> None:
    error = refused(compiled(), f"{SERVICE}/GetPlce")

    assert error.metadata["field"] == "tool.grpc.method"
    assert "the service has GetPlace, Echo, Shout, Grow, Act, WatchPlace" in error.message


def test_an_unknown_service_is_told_which_there_are() -> None:
    error = refused(compiled(), "places.v1.Service/GetPlace")

    assert error.metadata["field"] == "tool.grpc.method"
    assert f"there are {SERVICE}" in error.message


def test_a_streaming_method_is_refused_and_the_others_are_named() -> None:
    error = refused(compiled(), f"{SERVICE}/WatchPlace")

    assert error.metadata["field"] == "tool.grpc.method"
    assert error.metadata["suggested_fix"] == "use one of GetPlace, Echo, Shout, Grow, Act"


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xff",
        b"x" * (MAX_BYTES + 1),
        with_service(imports="missing.proto"),
        with_service(file("b.proto", "c.proto"), file("c.proto", "b.proto"), imports="b.proto"),
        with_service(file("b.proto", "b.proto"), imports="b.proto"),
        with_service(file("b.proto", package="google.protobuf"), imports="b.proto"),
        with_service(
            *(file(f"{number}.proto", f"{number + 1}.proto") for number in range(201)),
            imports="0.proto",
        ),
    ],
    ids=["garbage", "large", "missing", "loop", "itself", "google", "many"],
)
def test_an_unsound_set_is_refused_with_what_is_wrong(raw: bytes) -> None:
    error = refused(raw, "a.S/Get")

    assert error.reason == "INVALID_REQUEST"
    assert error.metadata["field"] == FIELD


def test_only_what_a_call_can_have_is_kept() -> None:
    files = needed(parsed(compiled(), field=FIELD), SERVICE, field=FIELD)
    kept = pruned(files, found(files, METHOD, field=FIELD))

    assert [each.name for each in kept] == ["it.proto"]
    assert [each.name for each in kept[0].message_type] == ["GetPlaceRequest", "Place"]
    assert not kept[0].enum_type
    assert [each.name for each in kept[0].service[0].method] == ["GetPlace"]
    assert method_of(serialized(kept)).response.full_name == "places.v1.Place"


@pytest.mark.parametrize("name", ["Grow", "Shout", "Act"])
def test_what_is_kept_has_all_that_is_needed(name: str) -> None:
    files = needed(parsed(compiled(), field=FIELD), SERVICE, field=FIELD)
    method = found(files, f"{SERVICE}/{name}", field=FIELD)
    kept = serialized(pruned(files, method))

    assert method_of(kept, f"{SERVICE}/{name}").request.full_name == method.request.full_name


def test_a_method_with_an_any_keeps_all_messages() -> None:
    files = needed(parsed(compiled(), field=FIELD), SERVICE, field=FIELD)
    kept = pruned(files, found(files, f"{SERVICE}/Echo", field=FIELD))

    assert "Node" in [each.name for each in kept[-1].message_type]


def test_types_that_are_imported_by_way_of_others_are_kept() -> None:
    deep = file("deep.proto", package="d")
    deep.message_type.add(name="Outer").nested_type.add(name="Inner")
    public = file("public.proto", "deep.proto", package="p")
    public.public_dependency.append(0)
    top = file("top.proto", "public.proto", package="a")
    top.message_type.add(name="M").field.add(
        name="f", number=1, type=11, label=1, type_name=".d.Outer.Inner"
    )
    service = top.service.add(name="S")
    service.method.add(name="Get", input_type=".a.M", output_type=".a.M")
    raw = FileDescriptorSet(file=[deep, public, top]).SerializeToString()
    files = needed(parsed(raw, field=FIELD), "a.S", field=FIELD)
    kept = pruned(files, found(files, "a.S/Get", field=FIELD))

    assert [each.name for each in kept] == ["deep.proto", "top.proto"]
    assert method_of(serialized(kept), "a.S/Get")


def test_a_file_that_the_library_refuses_is_named() -> None:
    wrong = file("b.proto")
    wrong.message_type.add(name="M").field.add(name="f", number=-1, type=9, label=1)
    error = refused(with_service(wrong, imports="b.proto"), "a.S/Get")

    assert "b.proto" in error.message
    assert error.metadata["field"] == FIELD

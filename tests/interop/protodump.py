"""Prints every field and enum value of our .proto files, in the form protocheck uses."""
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2

KINDS = {v: k[5:].lower() for k, v in descriptor_pb2.FieldDescriptorProto.Type.items()}


def enums(prefix, protos, lines):
    for enum in protos:
        # protoreflect names an enum's full name with its package, its values without the enum
        for value in enum.value:
            lines.append(f"{prefix}.{enum.name} {value.name} {value.number}")


def messages(prefix, protos, lines):
    for message in protos:
        name = f"{prefix}.{message.name}"
        for field in message.field:
            kind = field.type_name[1:] if field.type_name else KINDS[field.type]
            repeated = field.label == field.LABEL_REPEATED
            oneof = message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else "-"
            lines.append(f"{name} {field.name} {field.number} {kind} {str(repeated).lower()} {oneof}")
        messages(name, message.nested_type, lines)
        enums(name, message.enum_type, lines)


def main():
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(["protoc", f"-I{sys.argv[1]}", f"--descriptor_set_out={out.name}",
                        "opamp/v1/anyvalue.proto", "opamp/v1/opamp.proto"], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(out.read())
    lines = []
    for file in files.file:
        messages(file.package, file.message_type, lines)
        enums(file.package, file.enum_type, lines)
    print("\n".join(sorted(lines)))


main()

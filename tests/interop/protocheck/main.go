// protocheck prints every field and enum value of the reference library's descriptors, one a line,
// sorted: the independent side of the comparison in proto_diff.sh.
package main

import (
	"fmt"
	"os"
	"sort"

	"github.com/open-telemetry/opamp-go/protobufs"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var lines []string

func kind(f protoreflect.FieldDescriptor) string {
	switch {
	case f.Kind() == protoreflect.MessageKind:
		return string(f.Message().FullName())
	case f.Kind() == protoreflect.EnumKind:
		return string(f.Enum().FullName())
	}
	return f.Kind().String()
}

func enums(es protoreflect.EnumDescriptors) {
	for i := 0; i < es.Len(); i++ {
		vs := es.Get(i).Values()
		for k := 0; k < vs.Len(); k++ {
			lines = append(lines, fmt.Sprintf("%s %s %d", es.Get(i).FullName(), vs.Get(k).Name(), vs.Get(k).Number()))
		}
	}
}

func messages(ms protoreflect.MessageDescriptors) {
	for i := 0; i < ms.Len(); i++ {
		m := ms.Get(i)
		for k := 0; k < m.Fields().Len(); k++ {
			f := m.Fields().Get(k)
			oneof := "-"
			if f.ContainingOneof() != nil {
				oneof = string(f.ContainingOneof().Name())
			}
			repeated := f.Cardinality() == protoreflect.Repeated
			lines = append(lines, fmt.Sprintf("%s %s %d %s %t %s", m.FullName(), f.Name(), f.Number(), kind(f), repeated, oneof))
		}
		messages(m.Messages())
		enums(m.Enums())
	}
}

func main() {
	file := protobufs.File_opamp_proto
	messages(file.Messages())
	enums(file.Enums())
	value := protobufs.File_anyvalue_proto
	messages(value.Messages())
	sort.Strings(lines)
	if len(lines) == 0 {
		os.Exit(1)
	}
	for _, l := range lines {
		fmt.Println(l)
	}
}

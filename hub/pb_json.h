/*
 * pb_json.h: a decoded protobuf message as JSON.  opamphub-front.
 * Field names are the .proto's, enum values their names without the enum's, bytes hexadecimal, maps
 * and lists of KeyValue objects (of equal keys the last counts), AnyValue the value itself.  Fields
 * that are not set, or have proto3's default, are left out.
 */
#ifndef HUB_PB_JSON_H
#define HUB_PB_JSON_H

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

/* A new reference, or NULL when memory ran out. */
json_t *pb_json(const ProtobufCMessage *m);

#endif

/*
 * pb_json.c: a decoded protobuf message as JSON (see pb_json.h).  opamphub-front.
 * The message went through wire_scan: it is no deeper than LIMIT_PB_DEPTH, and its texts are UTF-8.
 */
#include "pb_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "hub.h"
#include "opamp/v1/anyvalue.pb-c.h"

typedef const ProtobufCFieldDescriptor Field;

static json_t *
hex(const ProtobufCBinaryData *b)
{
	char *text = malloc(2 * b->len + 1);
	json_t *j;

	if (text == NULL)
		return NULL;
	hex_text(text, b->data, b->len);
	j = json_string_nocheck(text);
	free(text);
	return j;
}

/* "CommandType_Restart" of enum CommandType: "Restart". */
static json_t *
enum_name(const ProtobufCEnumDescriptor *d, int value)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(d, value);
	size_t n = strlen(d->short_name);

	if (v == NULL)
		return json_integer(value);
	if (strncmp(v->name, d->short_name, n) == 0 && v->name[n] == '_')
		return json_string_nocheck(v->name + n + 1);
	return json_string_nocheck(v->name);
}

/* JSON has no word for what is no number. */
static json_t *
number_of(double d)
{
	return isfinite(d) ? json_real(d) : json_null();
}

/* One value; at points to it as protobuf-c keeps it. */
static json_t *
value_of(Field *f, const void *at)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return json_integer(*(const int32_t *)at);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return json_integer(*(const uint32_t *)at);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return json_integer((json_int_t) * (const int64_t *)at);
	case PROTOBUF_C_TYPE_FLOAT:
		return number_of((double)*(const float *)at);
	case PROTOBUF_C_TYPE_DOUBLE:
		return number_of(*(const double *)at);
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)at);
	case PROTOBUF_C_TYPE_ENUM:
		return enum_name(f->descriptor, *(const int *)at);
	case PROTOBUF_C_TYPE_STRING:
		return json_string_nocheck(*(char *const *)at == NULL ? "" : *(char *const *)at);
	case PROTOBUF_C_TYPE_BYTES:
		return hex(at);
	case PROTOBUF_C_TYPE_MESSAGE:
		return pb_json(*(const ProtobufCMessage *const *)at);
	}
	return NULL;
}

static size_t
size_of(Field *f)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return sizeof(uint64_t);
	default:
		return sizeof(uint32_t);
	}
}

/* A map's entry or a KeyValue: key, a string, and value. */
static int
is_pair(Field *f)
{
	const ProtobufCMessageDescriptor *d = f->descriptor;

	return f->type == PROTOBUF_C_TYPE_MESSAGE && d->n_fields == 2 &&
	       strcmp(d->fields[0].name, "key") == 0 &&
	       d->fields[0].type == PROTOBUF_C_TYPE_STRING &&
	       strcmp(d->fields[1].name, "value") == 0;
}

static json_t *
pairs(char *const *list, size_t count)
{
	const ProtobufCMessageDescriptor *d;
	json_t *o = json_object(), *value;
	const char *key;
	size_t i;

	for (i = 0; o != NULL && i < count; i++) {
		d = ((const ProtobufCMessage *)list[i])->descriptor;
		key = *(char *const *)(list[i] + d->fields[0].offset);
		if (d->fields[1].type == PROTOBUF_C_TYPE_MESSAGE &&
		    *(void *const *)(list[i] + d->fields[1].offset) == NULL)
			value = json_null();
		else
			value = value_of(&d->fields[1], list[i] + d->fields[1].offset);
		if (json_object_set_new_nocheck(o, key == NULL ? "" : key, value) == -1) {
			json_decref(o);
			o = NULL;
		}
	}
	return o;
}

static json_t *
list_of(Field *f, const char *base)
{
	size_t count = *(const size_t *)(base + f->quantifier_offset), i;
	const char *items = *(char *const *)(base + f->offset);
	json_t *a;

	if (is_pair(f))
		return pairs((char *const *)(const void *)items, count);
	a = json_array();
	for (i = 0; a != NULL && i < count; i++)
		if (json_array_append_new(a, value_of(f, items + i * size_of(f))) == -1) {
			json_decref(a);
			a = NULL;
		}
	return a;
}

/* proto3: a field with its default is a field that is not there. */
static int
is_there(Field *f, const char *base)
{
	static const char zero[sizeof(ProtobufCBinaryData)];
	const char *at = base + f->offset;

	if (f->label == PROTOBUF_C_LABEL_REPEATED)
		return *(const size_t *)(base + f->quantifier_offset) > 0;
	if (f->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const uint32_t *)(base + f->quantifier_offset) == f->id;
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		return *(char *const *)at != NULL && **(char *const *)at != '\0';
	case PROTOBUF_C_TYPE_BYTES:
		return ((const ProtobufCBinaryData *)(const void *)at)->len > 0;
	case PROTOBUF_C_TYPE_MESSAGE:
		return *(void *const *)at != NULL;
	default:
		return memcmp(at, zero, size_of(f)) != 0;
	}
}

static json_t *
any_value(const Opamp__Proto__V1__AnyValue *v)
{
	const ProtobufCMessageDescriptor *d = v->base.descriptor;
	const char *base = (const char *)v;
	unsigned i;

	switch (v->value_case) {
	case OPAMP__PROTO__V1__ANY_VALUE__VALUE_ARRAY_VALUE:
		return list_of(
		    &v->array_value->base.descriptor->fields[0], (const char *)v->array_value);
	case OPAMP__PROTO__V1__ANY_VALUE__VALUE_KVLIST_VALUE:
		return list_of(
		    &v->kvlist_value->base.descriptor->fields[0], (const char *)v->kvlist_value);
	default:
		break;
	}
	for (i = 0; i < d->n_fields; i++)
		if (d->fields[i].id == (uint32_t)v->value_case)
			return value_of(&d->fields[i], base + d->fields[i].offset);
	return json_null();
}

json_t *
pb_json(const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	const char *base = (const char *)m;
	json_t *o, *value;
	unsigned i;

	if (d == &opamp__proto__v1__any_value__descriptor)
		return any_value((const Opamp__Proto__V1__AnyValue *)(const void *)m);
	o = json_object();
	for (i = 0; o != NULL && i < d->n_fields; i++) {
		Field *f = &d->fields[i];

		if (!is_there(f, base))
			continue;
		value = f->label == PROTOBUF_C_LABEL_REPEATED ? list_of(f, base)
							      : value_of(f, base + f->offset);
		if (json_object_set_new_nocheck(o, f->name, value) == -1) {
			json_decref(o);
			o = NULL;
		}
	}
	return o;
}

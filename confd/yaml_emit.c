/*
 * yaml_emit.c: a tree back into YAML, by libyaml's emitter where there is anything unusual in it.  merge only.
 * Scalars keep the style and tag they came with, so that nothing changes its type on the way.
 */
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "privsep/limits.h"
#include "yaml_output.h"

int
output_write(void *ctx, unsigned char *buffer, size_t size)
{
	struct output *o = ctx;
	size_t want = o->size == 0 ? 4096 : o->size;
	char *bigger;

	if (size > LIMIT_YAML_OUTPUT || o->len + size > LIMIT_YAML_OUTPUT) {
		o->too_large = 1;
		return 0;
	}
	while (want < o->len + size)
		want *= 2;
	if (want != o->size) {
		bigger = realloc(o->data, want);
		if (bigger == NULL)
			return 0;
		o->data = bigger;
		o->size = want;
	}
	memcpy(o->data + o->len, buffer, size);
	o->len += size;
	return 1;
}

static int
emit_node(yaml_emitter_t *emitter, const struct yaml_node *n, int depth)
{
	yaml_char_t *tag = (yaml_char_t *)n->tag;
	yaml_event_t e;
	size_t i;
	int plain = n->style == YAML_PLAIN_SCALAR_STYLE;

	if (depth > 2 * (int)LIMIT_YAML_DEPTH)
		return 0;
	switch (n->kind) {
	case YAML_SCALAR:
		/*
		 * Some plain texts libyaml can only write quoted (emoji, line breaks).  That is
		 * allowed here without a tag; tree_equal refuses it where it changes the meaning.
		 */
		return yaml_scalar_event_initialize(&e, NULL, tag, (yaml_char_t *)n->value,
			   (int)n->len, tag == NULL && plain, tag == NULL,
			   (yaml_scalar_style_t)n->style) &&
		       yaml_emitter_emit(emitter, &e);
	case YAML_SEQ:
		if (!yaml_sequence_start_event_initialize(
			&e, NULL, tag, tag == NULL, YAML_BLOCK_SEQUENCE_STYLE) ||
		    !yaml_emitter_emit(emitter, &e))
			return 0;
		for (i = 0; i < n->count; i++)
			if (!emit_node(emitter, n->items[i], depth + 1))
				return 0;
		return yaml_sequence_end_event_initialize(&e) && yaml_emitter_emit(emitter, &e);
	case YAML_MAP:
	default:
		if (!yaml_mapping_start_event_initialize(
			&e, NULL, tag, tag == NULL, YAML_BLOCK_MAPPING_STYLE) ||
		    !yaml_emitter_emit(emitter, &e))
			return 0;
		for (i = 0; i < n->count; i++)
			if (!emit_node(emitter, n->pairs[i].key, depth + 1) ||
			    !emit_node(emitter, n->pairs[i].value, depth + 1))
				return 0;
		return yaml_mapping_end_event_initialize(&e) && yaml_emitter_emit(emitter, &e);
	}
}

static int
emit_document(yaml_emitter_t *emitter, const struct yaml_node *root)
{
	yaml_event_t e;

	return yaml_stream_start_event_initialize(&e, YAML_UTF8_ENCODING) &&
	       yaml_emitter_emit(emitter, &e) &&
	       yaml_document_start_event_initialize(&e, NULL, NULL, NULL, 1) &&
	       yaml_emitter_emit(emitter, &e) && emit_node(emitter, root, 0) &&
	       yaml_document_end_event_initialize(&e, 1) && yaml_emitter_emit(emitter, &e) &&
	       yaml_stream_end_event_initialize(&e) && yaml_emitter_emit(emitter, &e);
}

int
tree_write_any(struct output *o, const struct yaml_node *root)
{
	yaml_emitter_t emitter;
	int ok;

	if (!yaml_emitter_initialize(&emitter))
		return 0;
	yaml_emitter_set_output(&emitter, output_write, o);
	yaml_emitter_set_unicode(&emitter, 1);
	yaml_emitter_set_width(&emitter, -1);
	ok = emit_document(&emitter, root);
	yaml_emitter_delete(&emitter);
	return ok;
}

int
tree_emit(
    const struct yaml_node *root, const char *head, char **data, size_t *len, struct error *err)
{
	struct output o = {0};
	int ok = head == NULL || output_write(&o, (unsigned char *)(uintptr_t)head, strlen(head));

	if (ok && root != NULL)
		ok = root->kind != YAML_SCALAR && root->count > 0 && tree_is_usual(root, 0)
			 ? tree_write_usual(&o, root)
			 : tree_write_any(&o, root);
	if (!ok) {
		free(o.data);
		return error_set(err, "writing YAML: %s",
		    o.too_large ? "the result is larger than 32 MiB" : "no memory");
	}
	*data = o.data != NULL ? o.data : calloc(1, 1);
	*len = o.len;
	return *data == NULL ? error_set(err, "no memory for writing YAML") : 0;
}

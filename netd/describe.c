/*
 * describe.c: AgentDescription (see describe.h).  netd.
 */
#include "describe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "privsep/log.h"
#include "wire/wire.h"

typedef Opamp__Proto__V1__AgentDescription Description;
typedef Opamp__Proto__V1__KeyValue KeyValue;
typedef Opamp__Proto__V1__AnyValue AnyValue;

#define HOST_ATTRIBUTES 8 /* more than we add to a list ourselves */

#if defined(__x86_64__)
#define HOST_ARCH "amd64"
#elif defined(__aarch64__)
#define HOST_ARCH "arm64"
#elif defined(__i386__)
#define HOST_ARCH "386"
#elif defined(__arm__)
#define HOST_ARCH "arm"
#elif defined(__riscv) && __riscv_xlen == 64
#define HOST_ARCH "riscv64"
#elif defined(__powerpc64__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define HOST_ARCH "ppc64le"
#elif defined(__s390x__)
#define HOST_ARCH "s390x"
#elif defined(__loongarch64)
#define HOST_ARCH "loong64"
#else
#define HOST_ARCH NULL
#endif

void
uuid_text(char text[UUID_TEXT], const uint8_t uid[16])
{
	static const char digits[] = "0123456789abcdef";
	size_t i, n = 0;

	for (i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			text[n++] = '-';
		text[n++] = digits[uid[i] >> 4];
		text[n++] = digits[uid[i] & 15];
	}
	text[n] = '\0';
}

static char *
copy_if_text(const char *s, size_t len)
{
	return len > 0 && wire_utf8((const uint8_t *)s, len) ? strndup(s, len) : NULL;
}

int
describe_init(struct describe *d, const struct settings *settings, struct error *err)
{
	struct utsname u;
	char *path, *base;

	memset(d, 0, sizeof(*d));
	d->settings = settings;
	d->host_arch = HOST_ARCH;
	if (uname(&u) == -1)
		return error_errno(err, "asking for the host's name");
	if (d->host_arch == NULL)
		d->host_arch = "unknown";
	d->host_name = copy_if_text(u.nodename, strlen(u.nodename));
	if (settings_u64(settings, SET_AGENT_TYPE) == 0)
		return 0; /* a collector says its name itself: a guess would only be taken back */
	path = settings_string(settings, SET_EXECUTABLE);
	if (path == NULL)
		return 0;
	base = strrchr(path, '/');
	base = base == NULL ? path : base + 1;
	d->service_name = copy_if_text(base, strlen(base));
	free(path);
	return 0;
}

void
describe_clear(struct describe *d)
{
	free(d->service_name);
	free(d->os_description);
	free(d->host_name);
	free(d->host_id);
	memset(d, 0, sizeof(*d));
}

/* The value of one line of os-release: bare, or in quotes as the shell knows them. */
static char *
unquote(const char *s, size_t len)
{
	char quote = len > 0 && (*s == '"' || *s == '\'') ? *s : '\0', *out = malloc(len + 1);
	size_t i = quote != '\0', n = 0;

	if (out == NULL)
		return NULL;
	for (; i < len && (quote == '\0' || s[i] != quote); i++) {
		if (s[i] == '\\' && quote != '\'' && i + 1 < len)
			i++;
		out[n++] = s[i];
	}
	out[n] = '\0';
	if (n == 0 || !wire_utf8((uint8_t *)out, n)) {
		free(out);
		return NULL;
	}
	return out;
}

void
describe_os_release(struct describe *d, const char *text)
{
	static const char key[] = "PRETTY_NAME=";
	size_t len;

	for (; *text != '\0'; text += len + (text[len] != '\0')) {
		len = strcspn(text, "\n");
		if (len < sizeof(key) - 1 || strncmp(text, key, sizeof(key) - 1) != 0)
			continue;
		free(d->os_description);
		d->os_description = unquote(text + sizeof(key) - 1, len - (sizeof(key) - 1));
	}
}

void
describe_machine_id(struct describe *d, const char *text)
{
	size_t len = strspn(text, "0123456789abcdef");

	if (len != 32 || (text[len] != '\0' && text[len] != '\n'))
		return;
	free(d->host_id);
	d->host_id = strndup(text, len);
}

/* ---- lists of attributes; the pairs are borrowed, the array and what we make lie in `made` */

struct attribute {
	KeyValue pair;
	AnyValue value;
};

struct list {
	KeyValue **pairs;
	size_t count;
	struct attribute *made;
	size_t made_count;
	char **texts; /* terminated copies for made pairs */
	size_t text_count;
};

static size_t
count_settings(const struct describe *d, enum setting key)
{
	struct record_entry e;
	size_t pos = 0, n = 0;

	while (settings_next(d->settings, &pos, key, &e))
		n++;
	return n;
}

static int
list_init(struct list *l, KeyValue **pairs, size_t count, size_t more)
{
	size_t i;

	memset(l, 0, sizeof(*l));
	more += HOST_ATTRIBUTES;
	l->pairs = calloc(count + more, sizeof(KeyValue *));
	l->made = calloc(more, sizeof(*l->made));
	l->texts = calloc(more, sizeof(char *));
	if (l->pairs == NULL || l->made == NULL || l->texts == NULL)
		return -1;
	for (i = 0; i < count; i++)
		l->pairs[l->count++] = pairs[i];
	return 0;
}

static void
list_clear(struct list *l)
{
	size_t i;

	for (i = 0; i < l->text_count; i++)
		free(l->texts[i]);
	free(l->texts);
	free(l->pairs);
	free(l->made);
}

static KeyValue **
list_find(const struct list *l, const char *key)
{
	size_t i;

	for (i = 0; i < l->count; i++)
		if (strcmp(l->pairs[i]->key, key) == 0)
			return &l->pairs[i];
	return NULL;
}

static void
list_remove(struct list *l, const char *key)
{
	KeyValue **at;

	while ((at = list_find(l, key)) != NULL) {
		l->count--;
		memmove(at, at + 1, (size_t)(l->pairs + l->count - at) * sizeof(KeyValue *));
	}
}

/* key and text are borrowed; there is room, by list_init. */
static void
list_put(struct list *l, const char *key, const char *text)
{
	struct attribute *a = &l->made[l->made_count++];

	list_remove(l, key);
	opamp__proto__v1__key_value__init(&a->pair);
	opamp__proto__v1__any_value__init(&a->value);
	a->value.value_case = OPAMP__PROTO__V1__ANY_VALUE__VALUE_STRING_VALUE;
	a->value.string_value = (char *)(uintptr_t)text;
	a->pair.key = (char *)(uintptr_t)key;
	a->pair.value = &a->value;
	l->pairs[l->count++] = &a->pair;
}

static void
list_add(struct list *l, const char *key, const char *text)
{
	if (text != NULL && list_find(l, key) == NULL)
		list_put(l, key, text);
}

static int
list_settings(struct list *l, const struct describe *d, enum setting which)
{
	struct record_entry e;
	const char *key, *value;
	size_t pos = 0, len;
	char *text;

	while (settings_next(d->settings, &pos, which, &e)) {
		if (settings_pair(&e, &key, &value, &len) == -1 ||
		    !wire_utf8((const uint8_t *)key, strlen(key)) ||
		    !wire_utf8((const uint8_t *)value, len))
			continue;
		text = strndup(value, len);
		if (text == NULL)
			return -1;
		l->texts[l->text_count++] = text;
		list_put(l, key, text);
	}
	return 0;
}

static int
by_key(const void *a, const void *b)
{
	KeyValue *const *x = a, *const *y = b;

	return strcmp((*x)->key, (*y)->key);
}

/* In order of keys, so that the same set is the same bytes, and each key once: the last one. */
static void
list_order(struct list *l)
{
	size_t i, n = 0;

	for (i = 0; i < l->count; i++) {
		KeyValue *pair = l->pairs[i];
		size_t k;

		for (k = i + 1; k < l->count && strcmp(l->pairs[k]->key, pair->key) != 0; k++)
			;
		if (k == l->count)
			l->pairs[n++] = pair;
	}
	l->count = n;
	if (n > 1)
		qsort(l->pairs, n, sizeof(KeyValue *), by_key);
}

static int
fill(const struct describe *d, struct list *id, struct list *other, const char *uid)
{
	list_add(id, "service.name", d->service_name);
	if (list_settings(id, d, SET_ID_ATTRIBUTES) == -1)
		return -1;
	list_put(id, "service.instance.id", uid);
	list_add(other, "os.type", "linux");
	list_add(other, "os.description", d->os_description);
	list_add(other, "host.name", d->host_name);
	list_add(other, "host.arch", d->host_arch);
	list_add(other, "host.id", d->host_id);
	if (list_settings(other, d, SET_OTHER_ATTRIBUTES) == -1)
		return -1;
	list_order(id);
	list_order(other);
	return 0;
}

int
describe_pack(const struct describe *d, const void *blob, size_t blob_len, const uint8_t uid[16],
    char **packed, size_t *len, struct error *err)
{
	Description out = OPAMP__PROTO__V1__AGENT_DESCRIPTION__INIT, *agent;
	struct list id = {0}, other = {0};
	char uid_text[UUID_TEXT];
	int result = -1;

	uuid_text(uid_text, uid);
	agent = (Description *)wire_unpack(
	    &opamp__proto__v1__agent_description__descriptor, blob, blob_len, err);
	if (agent == NULL)
		return error_prefix(err, "the agent's description");
	if (agent->n_identifying_attributes > LIMIT_ATTRIBUTES ||
	    agent->n_non_identifying_attributes > LIMIT_ATTRIBUTES) {
		(void)error_set(
		    err, "the agent's description: more than %u attributes", LIMIT_ATTRIBUTES);
		goto out;
	}
	if (list_init(&id, agent->identifying_attributes, agent->n_identifying_attributes,
		count_settings(d, SET_ID_ATTRIBUTES)) == -1 ||
	    list_init(&other, agent->non_identifying_attributes,
		agent->n_non_identifying_attributes,
		count_settings(d, SET_OTHER_ATTRIBUTES)) == -1 ||
	    fill(d, &id, &other, uid_text) == -1) {
		(void)error_set(err, "no memory for the agent's description");
		goto out;
	}
	out.identifying_attributes = id.pairs;
	out.n_identifying_attributes = id.count;
	out.non_identifying_attributes = other.pairs;
	out.n_non_identifying_attributes = other.count;
	*len = opamp__proto__v1__agent_description__get_packed_size(&out);
	*packed = malloc(*len + 1);
	if (*packed == NULL) {
		(void)error_set(err, "no memory for the agent's description");
		goto out;
	}
	(void)opamp__proto__v1__agent_description__pack(&out, (uint8_t *)*packed);
	result = 0;
out:
	list_clear(&id);
	list_clear(&other);
	wire_free(&agent->base);
	return result;
}

/*
 * link_health.c: the agent's health (see link_health.h).  link.
 * The tree was checked on the wire (depth, counts, UTF-8) before it was decoded; the recursions
 * here go no deeper than that check allows.
 */
#include "link_health.h"

#include <stdlib.h>
#include <string.h>

#include "privsep/limits.h"
#include "privsep/log.h"

typedef Opamp__Proto__V1__ComponentHealth Health;
typedef Opamp__Proto__V1__ComponentHealth__ComponentHealthMapEntry Entry;

#define PATH_SIZE   512
#define STATUS_SIZE 256
#define HASH_START  0xcbf29ce484222325u
#define HASH_PRIME  0x100000001b3u

enum level { /* in the order of severity */
	LEVEL_NONE,
	LEVEL_OK,
	LEVEL_STARTING,
	LEVEL_STOPPED,
	LEVEL_RECOVERABLE,
	LEVEL_RECOVERABLE_NEW, /* only by judgement */
	LEVEL_PERMANENT,
	LEVEL_FATAL,
};

static const uint32_t worst_of_level[] = {
    [LEVEL_NONE] = WORST_NONE,
    [LEVEL_OK] = WORST_OK,
    [LEVEL_STARTING] = WORST_STARTING,
    [LEVEL_STOPPED] = WORST_STOPPED,
    [LEVEL_RECOVERABLE] = WORST_RECOVERABLE_OLD,
    [LEVEL_RECOVERABLE_NEW] = WORST_RECOVERABLE_NEW,
    [LEVEL_PERMANENT] = WORST_PERMANENT,
    [LEVEL_FATAL] = WORST_FATAL,
};

struct walk {
	const struct link_baseline *baseline;
	struct link_component *components; /* LIMIT_HEALTH_COMPONENTS of them */
	size_t count;
	uint32_t nodes;
	size_t depth;
	enum level worst;
	const char *worst_error;
	char worst_path[PATH_SIZE];
	char path[PATH_SIZE];
};

static enum level
level_of(const Health *h)
{
	static const struct {
		const char *status;
		enum level level;
	} levels[] = {{"StatusOK", LEVEL_OK}, {"StatusStarting", LEVEL_STARTING},
	    {"StatusRecoverableError", LEVEL_RECOVERABLE},
	    {"StatusPermanentError", LEVEL_PERMANENT}, {"StatusFatalError", LEVEL_FATAL},
	    {"StatusStopping", LEVEL_STOPPED}, {"StatusStopped", LEVEL_STOPPED}};
	size_t i;

	for (i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
		if (strcmp(h->status, levels[i].status) == 0)
			return levels[i].level;
	/* no word, or one of a later version: the flag decides */
	if (h->healthy)
		return LEVEL_OK;
	return h->last_error[0] != '\0' ? LEVEL_RECOVERABLE : LEVEL_STARTING;
}

static int
compare_paths(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static enum level
judge(const struct link_baseline *b, uint64_t path, enum level level)
{
	if (level != LEVEL_RECOVERABLE || !b->set || b->count == 0)
		return level;
	return bsearch(&path, b->well, b->count, sizeof(path), compare_paths) != NULL
		   ? LEVEL_RECOVERABLE_NEW
		   : LEVEL_RECOVERABLE;
}

static uint64_t
hash_key(uint64_t hash, const char *key)
{
	do
		hash = (hash ^ (unsigned char)*key) * HASH_PRIME;
	while (*key++ != '\0');
	return hash;
}

static void
note(struct walk *w, const Health *node, uint64_t path, enum level level)
{
	enum level judged = judge(w->baseline, path, level);

	if (w->count < LIMIT_HEALTH_COMPONENTS)
		w->components[w->count++] = (struct link_component){path, (uint32_t)level};
	if (judged > w->worst) {
		w->worst = judged;
		w->worst_error = node->last_error;
		memcpy(w->worst_path, w->path, sizeof(w->worst_path));
	}
}

/* Appends "/key" to the path, cut at a character; gives the length it had. */
static size_t
enter(struct walk *w, const char *key)
{
	size_t old = strlen(w->path), len = strlen(key), room = PATH_SIZE - 1 - old;

	if (old > 0 && room > 0) {
		w->path[old] = '/';
		room--;
	}
	if (len > room)
		for (len = room; len > 0 && ((unsigned char)key[len] & 0xc0) == 0x80; len--)
			;
	memcpy(w->path + PATH_SIZE - 1 - room, key, len);
	w->path[PATH_SIZE - 1 - room + len] = '\0';
	return old;
}

static enum level
walk(struct walk *w, const Health *node, uint64_t path, size_t depth)
{
	enum level own = level_of(node), below = LEVEL_NONE, part;
	const Entry *e;
	size_t i, old;

	if (depth > w->depth)
		w->depth = depth;
	for (i = 0; i < node->n_component_health_map; i++) {
		e = node->component_health_map[i];
		/* sorted: of equal keys the last one holds */
		if (e->value == NULL ||
		    (i + 1 < node->n_component_health_map &&
			strcmp(e->key, node->component_health_map[i + 1]->key) == 0))
			continue;
		w->nodes++;
		old = enter(w, e->key);
		part = walk(w, e->value, hash_key(path, e->key), depth + 1);
		w->path[old] = '\0';
		if (part > below)
			below = part;
	}
	/* a sum of parts says nothing of its own, unless it is worse than they are */
	if (own > below)
		note(w, node, path, own);
	return own > below ? own : below;
}

struct numbered {
	Entry *entry;
	size_t place;
};

static int
compare_entries(const void *a, const void *b)
{
	const struct numbered *x = a, *y = b;
	int by_key = strcmp(x->entry->key, y->entry->key);

	return by_key != 0 ? by_key : (x->place > y->place) - (x->place < y->place);
}

/* Go sends maps in any order: sorted, equal trees have equal bytes. */
static int
sort(Health *node)
{
	size_t i, n = node->n_component_health_map;
	struct numbered *order;

	if (n == 0)
		return 0;
	order = calloc(n, sizeof(*order));
	if (order == NULL)
		return -1;
	for (i = 0; i < n; i++)
		order[i] = (struct numbered){node->component_health_map[i], i};
	qsort(order, n, sizeof(*order), compare_entries);
	for (i = 0; i < n; i++)
		node->component_health_map[i] = order[i].entry;
	free(order);
	for (i = 0; i < n; i++)
		if (node->component_health_map[i]->value != NULL &&
		    sort(node->component_health_map[i]->value) == -1)
			return -1;
	return 0;
}

static void
strip_times(Health *node)
{
	size_t i;

	node->status_time_unix_nano = 0;
	node->start_time_unix_nano = 0; /* the Collector puts the status time here too */
	for (i = 0; i < node->n_component_health_map; i++)
		if (node->component_health_map[i]->value != NULL)
			strip_times(node->component_health_map[i]->value);
}

static char *
pack(const Health *node, size_t *len)
{
	char *data;

	*len = opamp__proto__v1__component_health__get_packed_size(node);
	data = malloc(*len + 1);
	if (data != NULL)
		(void)opamp__proto__v1__component_health__pack(node, (uint8_t *)data);
	return data;
}

/* Length of s, cut to size at a character. */
static size_t
cut(const char *s, size_t size)
{
	size_t len = strlen(s);

	if (len <= size)
		return len;
	for (len = size; len > 0 && ((unsigned char)s[len] & 0xc0) == 0x80; len--)
		;
	return len;
}

static void
put(struct link_health *h, const char *s, size_t limit)
{
	size_t len = cut(s, limit);

	memcpy(h->text + h->text_len, s, len);
	h->text_len += len;
}

/* last_error, NUL, status: the failed component by name where the agent did not name it. */
static void
describe(struct link_health *h, const Health *tree, const struct walk *w)
{
	const char *error = tree->last_error;

	h->text_len = 0;
	if (w->worst >= LEVEL_RECOVERABLE && w->worst_path[0] != '\0' &&
	    (error[0] == '\0' || strcmp(error, w->worst_error) == 0)) {
		put(h, w->worst_path, PATH_SIZE);
		put(h, ": ", 2);
		error = w->worst_error[0] != '\0' ? w->worst_error : "failed without a word";
	} else if (error[0] == '\0' && !tree->healthy) {
		error =
		    w->worst == LEVEL_STOPPED ? "the agent is stopping" : "the agent is not ready";
	}
	put(h, error, LIMIT_AGENT_TEXT);
	h->text[h->text_len++] = '\0';
	put(h, tree->status, STATUS_SIZE);
}

int
link_health_take(
    struct link_health *h, Health *tree, const struct link_baseline *b, struct error *err)
{
	struct walk w = {.baseline = b};
	char *packed = NULL, *timeless = NULL;
	size_t packed_len, timeless_len;
	Health root;
	int same;

	w.components = calloc(LIMIT_HEALTH_COMPONENTS, sizeof(*w.components));
	if (w.components == NULL || sort(tree) == -1)
		goto fail;
	(void)walk(&w, tree, HASH_START, 0);
	root = *tree;
	if (w.nodes > LIMIT_HEALTH_COMPONENTS || w.depth > LIMIT_HEALTH_DEPTH) {
		log_debug("the agent reports %u components, %zu deep: only their sum is passed on",
		    w.nodes, w.depth);
		root.n_component_health_map = 0;
		root.component_health_map = NULL;
	}
	packed = pack(&root, &packed_len);
	h->status_time_ns = tree->status_time_unix_nano;
	strip_times(tree);
	root.status_time_unix_nano = root.start_time_unix_nano = 0;
	timeless = pack(&root, &timeless_len);
	if (packed == NULL || timeless == NULL)
		goto fail;
	same = h->known && h->timeless_len == timeless_len &&
	       memcmp(h->timeless, timeless, timeless_len) == 0 &&
	       h->worst == worst_of_level[w.worst];
	free(h->packed);
	free(h->timeless);
	free(h->components);
	h->packed = packed;
	h->packed_len = packed_len;
	h->timeless = timeless;
	h->timeless_len = timeless_len;
	h->components = realloc(w.components, (w.count + 1) * sizeof(*w.components));
	if (h->components == NULL)
		h->components = w.components; /* not made smaller, then */
	h->component_count = w.count;
	h->known = 1;
	h->healthy = tree->healthy != 0;
	h->worst = worst_of_level[w.worst];
	h->count = w.nodes;
	describe(h, tree, &w);
	return !same;
fail:
	free(packed);
	free(timeless);
	free(w.components);
	return error_set(err, "no memory for the agent's health");
}

int
link_health_judge(struct link_health *h, const struct link_baseline *b)
{
	enum level worst = LEVEL_NONE, level;
	uint32_t before = h->worst;
	size_t i;

	if (!h->known)
		return 0;
	for (i = 0; i < h->component_count; i++) {
		level = judge(b, h->components[i].path, (enum level)h->components[i].level);
		if (level > worst)
			worst = level;
	}
	h->worst = worst_of_level[worst];
	return h->worst != before;
}

int
link_baseline_take(struct link_baseline *b, const struct link_health *h, struct error *err)
{
	uint64_t *well;
	size_t i, n = 0;

	well = calloc(h->component_count + 1, sizeof(*well));
	if (well == NULL)
		return error_set(err, "no memory for the baseline of the agent's health");
	for (i = 0; i < h->component_count; i++)
		if (h->components[i].level == LEVEL_OK)
			well[n++] = h->components[i].path;
	qsort(well, n, sizeof(*well), compare_paths);
	free(b->well);
	b->well = well;
	b->count = n;
	b->set = 1;
	return 0;
}

void
link_health_clear(struct link_health *h)
{
	free(h->packed);
	free(h->timeless);
	free(h->components);
	memset(h, 0, sizeof(*h));
}

void
link_baseline_clear(struct link_baseline *b)
{
	free(b->well);
	memset(b, 0, sizeof(*b));
}
